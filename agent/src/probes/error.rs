//! Why a probe is not attached, and what to do about it.

use std::error::Error as StdError;
use std::io;

use aya::programs::ProgramError;
use thiserror::Error;

/// Why a probe, or all of them, could not be attached. Nothing of it is left in the kernel then.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// The binary has no probes inside.
    #[error("this binary was built without probes: use `cargo xtask build`")]
    NotBuilt,
    /// The kernel describes no types.
    #[error("{}: {because}; the kernel must be built with CONFIG_DEBUG_INFO_BTF=y", super::kernel_types::VMLINUX)]
    NoTypes {
        /// What the reader said.
        because: String,
    },
    /// The agent's own network namespace is not known.
    #[error("/proc/self/ns/net: {0}; network probes cannot tell their own namespace, mount /proc")]
    NoNamespace(io::Error),
    /// The kernel does not have this hook.
    #[error("this kernel has no tracepoint {0}; nothing to do, the agent goes on without it")]
    NoTracepoint(&'static str),
    /// The kernel does not have this function, or inlined it everywhere.
    #[error("this kernel has no function {0} that a probe could hang on; nothing to do, the agent goes on without it")]
    NoFunction(&'static str),
    /// The kernel lets no probe hang on this function.
    #[error("this kernel lets no probe hang on the function {function} (fentry: {fentry}; kprobe: {kprobe})")]
    Unhookable {
        /// The function.
        function: &'static str,
        /// What it said to the better way.
        fentry: String,
        /// What it said to the other one.
        kprobe: String,
    },
    /// The hook hands over less than the probe needs.
    #[error(
        "tracepoint {tracepoint} of this kernel hands over {has} values, not {needs}; a later kernel is needed ({since})"
    )]
    TooFewValues {
        /// The hook.
        tracepoint: &'static str,
        /// What it hands over.
        has: usize,
        /// What the probe needs.
        needs: usize,
        /// Which kernel has it.
        since: &'static str,
    },
    /// A kernel struct looks different from what the probe knows.
    #[error("this kernel has no field {0}; a later version of Lacuna is needed")]
    NoField(String),
    /// The kernel does not allow it.
    #[error(
        "not permitted: CAP_BPF and CAP_PERFMON are needed (below Linux 5.11 CAP_SYS_RESOURCE as well); run as root or \
         grant them in the unit file"
    )]
    NotPermitted,
    /// The kernel, or the loader, refused.
    #[error("the kernel refused it: {0}")]
    Refused(String),
}

impl ProbeError {
    /// What the loader's error comes down to.
    pub(super) fn of_loader(error: &(dyn StdError + 'static)) -> Self {
        if causes(error).any(is_permission) && !causes(error).any(is_verdict) {
            return Self::NotPermitted;
        }
        Self::Refused(summary(error))
    }
}

fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

fn is_permission(error: &(dyn StdError + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

/// The verifier refuses with `EACCES` as well: where it says why, it was asked.
fn is_verdict(error: &(dyn StdError + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(ProgramError::LoadError { verifier_log, .. }) if !verifier_log.to_string().is_empty())
}

/// What the verifier did not like, else the first cause: what was called on the way there says nothing.
pub(super) fn brief(error: &(dyn StdError + 'static)) -> String {
    if causes(error).any(is_verdict) {
        return summary(error);
    }
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}

/// The causes in one line each. A verifier log has hundreds of lines: the last ones say what it did not like.
fn summary(error: &(dyn StdError + 'static)) -> String {
    const LINES: usize = 4;
    let parts: Vec<String> = causes(error)
        .map(|cause| {
            let text = cause.to_string();
            let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
            match lines.len().checked_sub(LINES) {
                Some(skip @ 1..) => format!("{} … {}", lines[0], lines[skip..].join(" | ")),
                _ => lines.join(" | "),
            }
        })
        .collect();
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use aya_obj::VerifierLog;

    use super::*;

    #[test]
    fn a_refused_permission_is_told_wherever_it_hides() {
        let inner = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = aya::maps::MapError::CreateError { name: "EVENTS".into(), io_error: inner };
        assert!(matches!(ProbeError::of_loader(&error), ProbeError::NotPermitted));
    }

    #[test]
    fn what_the_verifier_refuses_is_no_lack_of_permission() {
        let refused = |log: &str| {
            let io_error = io::Error::from(io::ErrorKind::PermissionDenied);
            ProbeError::of_loader(&ProgramError::LoadError { io_error, verifier_log: VerifierLog::new(log.to_owned()) })
        };
        let text = refused("R1 bitwise operator &= on pointer prohibited").to_string();
        assert!(text.contains("on pointer prohibited"), "{text}");
        assert!(matches!(refused(""), ProbeError::NotPermitted));
    }

    #[test]
    fn a_refused_call_is_told_by_its_first_cause_and_a_refused_program_by_its_log() {
        let refused = |log: &str| {
            let io_error = io::Error::from(io::ErrorKind::PermissionDenied);
            brief(&ProgramError::LoadError { io_error, verifier_log: VerifierLog::new(log.to_owned()) })
        };
        assert_eq!(refused(""), "permission denied");
        assert!(refused("R1 bitwise operator").contains("R1 bitwise operator"));
    }

    #[test]
    fn a_verifier_log_is_cut_to_its_end() {
        let log: String = (0..100).map(|line| format!("line {line}\n")).collect();
        let text = ProbeError::of_loader(&io::Error::other(log)).to_string();
        assert!(text.contains("line 99") && text.contains("line 0"), "{text}");
        assert!(!text.contains("line 50"), "{text}");
    }
}
