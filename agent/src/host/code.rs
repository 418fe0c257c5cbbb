//! What x86 code had just done at an address, by the bytes before it.

use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction};

/// An x86 instruction has no more bytes than this: decoded from as many places, some begin with a true one.
const LONGEST: usize = 15;

/// The two instructions before an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Before {
    first: Instruction,
    last: Instruction,
}

impl Before {
    /// Whether interrupts had just been let in at that address: by `popf`, or by `sti` and the instruction for which that
    /// still holds them off (Intel SDM volume 2, STI). Absent where control came from elsewhere: right after a call, the
    /// function that returned may have done so. A jump right after `sti` is not noticed; compilers leave other work there.
    pub(super) fn was_reached(self) -> Option<bool> {
        let comes_from_here = matches!(self.last.flow_control(), FlowControl::Next | FlowControl::ConditionalBranch);
        comes_from_here
            .then(|| lets_in_at_once(self.last.code()) || is_sti(self.first.code()) || is_sti(self.last.code()))
    }

    /// The same for the first instruction of a function, where this is what lies before the return address: whether the
    /// call came right after `sti`. Absent where it was no call of a fixed address.
    pub(super) fn was_called(self) -> Option<bool> {
        (self.last.flow_control() == FlowControl::Call).then(|| is_sti(self.first.code()))
    }
}

fn is_sti(code: Code) -> bool {
    code == Code::Sti
}

fn lets_in_at_once(code: Code) -> bool {
    matches!(code, Code::Popfq | Code::Popfw)
}

/// The last two instructions of `code`, which ends where an instruction begins; absent where it does not say.
///
/// Nobody knows where the first instruction begins, so each of the first bytes is tried: wrong beginnings fall into step
/// with the true ones after a few instructions, and most of them agree.
pub(super) fn before(code: &[u8]) -> Option<Before> {
    if !cfg!(target_arch = "x86_64") || code.iter().all(|byte| *byte == 0) {
        return None;
    }
    let begins = LONGEST.min(code.len().saturating_sub(1));
    let found: Vec<Before> = (0..=begins).filter_map(|begin| decode(code.get(begin..)?)).collect();
    let best = found.iter().max_by_key(|before| votes(&found, before))?;
    (votes(&found, best) * 3 >= found.len() * 2 && found.len() * 2 > begins).then_some(*best)
}

fn votes(all: &[Before], one: &Before) -> usize {
    all.iter().filter(|other| same(other, one)).count()
}

/// Their addresses count from where each was begun.
fn same(one: &Before, other: &Before) -> bool {
    let form = |before: &Before| [before.first, before.last].map(|instruction| (instruction.code(), instruction.len()));
    form(one) == form(other)
}

/// The last two instructions, where the code consists of whole ones.
fn decode(code: &[u8]) -> Option<Before> {
    let mut decoder = Decoder::new(64, code, DecoderOptions::NONE);
    let mut last = [Instruction::default(); 2];
    while decoder.can_decode() {
        last = [last[1], decoder.decode()];
        if last[1].is_invalid() {
            return None;
        }
    }
    let [first, last] = last;
    (!first.is_invalid()).then_some(Before { first, last })
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    /// Some instructions of the kernel, so that what follows is reached in step.
    const BODY: [u8; 24] = [
        0x48, 0x8b, 0x47, 0x18, // mov 0x18(%rdi),%rax
        0x48, 0x89, 0xe5, // mov %rsp,%rbp
        0x41, 0x54, // push %r12
        0x48, 0x83, 0xec, 0x20, // sub $0x20,%rsp
        0x65, 0xff, 0x0d, 1, 2, 3, 4, // decl %gs:…
        0x85, 0xc0, // test %eax,%eax
        0x31, 0xc0, // xor %eax,%eax
    ];

    fn after(end: &[u8]) -> Option<Before> {
        before(&[&BODY, end].concat())
    }

    fn reached(end: &[u8]) -> Option<bool> {
        after(end).and_then(Before::was_reached)
    }

    #[test]
    fn sti_lets_interrupts_in_after_the_instruction_that_follows() {
        assert_eq!(reached(&[0xfb, 0x65, 0xff, 0x0d, 1, 2, 3, 4]), Some(true), "sti; decl %gs:…");
        assert_eq!(reached(&[0xfb, 0x90]), Some(true), "sti; nop");
        assert_eq!(reached(&[0xfb, 0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00]), Some(true), "sti and a long nop");
        assert_eq!(reached(&[0x9d]), Some(true), "popf");
        assert_eq!(reached(&[0xfb, 0x90, 0x90]), Some(false), "one instruction too far");
    }

    #[test]
    fn a_byte_that_looks_like_it_is_none() {
        assert_eq!(reached(&[0x48, 0x83, 0xfb, 0x00]), Some(false), "cmp $0,%rbx");
        assert_eq!(reached(&[0x48, 0x39, 0xfb, 0x0f, 0x84, 0x10, 0, 0, 0]), Some(false), "cmp %rdi,%rbx; je");
        assert_eq!(reached(&[0x48, 0x8b, 0x85, 0xfb, 0xff, 0xff, 0xff]), Some(false), "mov -5(%rbp),%rax");
        assert_eq!(reached(&[0x48, 0x8b, 0x47, 0xfb, 0x90]), Some(false), "mov -5(%rdi),%rax; nop");
    }

    #[test]
    fn after_a_call_a_return_or_a_jump_the_code_does_not_tell() {
        assert_eq!(reached(&[0xe8, 1, 2, 3, 4]), None, "call");
        assert_eq!(reached(&[0xff, 0xd0]), None, "call *%rax");
        assert_eq!(reached(&[0xfb, 0xc3]), None, "sti; ret");
        assert_eq!(reached(&[0xeb, 0x10]), None, "jmp");
        assert_eq!(before(&[0; 32]), None, "not readable");
    }

    #[test]
    fn the_call_of_a_function_tells_for_its_first_instruction() {
        let called = |end: &[u8]| after(end).and_then(Before::was_called);
        assert_eq!(called(&[0xe8, 1, 2, 3, 4]), Some(false));
        assert_eq!(called(&[0xfb, 0xe8, 1, 2, 3, 4]), Some(true));
        assert_eq!(called(&[0xff, 0xd0]), None, "by a pointer");
        assert_eq!(called(&[0x90]), None, "no call at all");
    }
}
