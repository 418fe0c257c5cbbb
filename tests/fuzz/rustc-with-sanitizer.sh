#!/bin/sh
# Cargo calls this in place of the compiler for the crates of this workspace (RUSTC_WORKSPACE_WRAPPER), with the compiler and its
# arguments. What they compile to counts which of its branches it took, for libFuzzer, and looks at every access to memory
# (AddressSanitizer), with the flags that cargo-fuzz 0.13 has for that (project.rs); other crates stay as they are in every other
# build. Cargo does not see what is in here: after a change, `cargo clean --release` for each of them.
case " $* " in
# Questions of Cargo, and what runs while it builds.
*" -vV "* | *" --print="* | *" --crate-name build_script_"* | *" --crate-type proc-macro "*) exec "$@" ;;
esac
# The sanitizer is no stable option of the compiler.
exec env RUSTC_BOOTSTRAP=1 "$@" \
    -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Cllvm-args=-sanitizer-coverage-stack-depth \
    -Cllvm-args=-simplifycfg-branch-fold-threshold=0 \
    -Zsanitizer=address \
    -Cdebug-assertions -Coverflow-checks -Ccodegen-units=4 \
    --cfg fuzzing
