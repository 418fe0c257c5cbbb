//! Where the kernel handles a breakpoint, for the runner: a CPU that never leaves one was stuck by the emulator.

use std::io::{BufRead as _, BufReader};

use anyhow::Result;

/// What runs from the trap to its end (`arch/x86/kernel/traps.c`, `arch/x86/kernel/alternative.c`).
const HANDLERS: [&str; 3] = ["asm_exc_int3", "exc_int3", "poke_int3_handler"];

/// Tells on the console from where to where they are. The kernel's list of symbols is long; this takes a while.
pub(crate) fn tell_handlers() -> Result<()> {
    let list = BufReader::new(std::fs::File::open("/proc/kallsyms")?);
    println!("lab: breakpoint handlers {}", handlers(list.lines().map_while(Result::ok)).join(" "));
    Ok(())
}

/// `from-to` of each: its address, and that of the next symbol that is elsewhere.
fn handlers(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut found = Vec::new();
    let mut inside: Option<String> = None;
    for line in lines {
        let mut words = line.split(' ');
        let (Some(address), Some(_), Some(name)) = (words.next(), words.next(), words.next()) else { continue };
        if let Some(from) = inside.take_if(|from| from.as_str() != address) {
            found.push(format!("{from}-{address}"));
        }
        if HANDLERS.contains(&name) {
            inside = Some(address.to_owned());
        }
        if found.len() == HANDLERS.len() {
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_handler_ends_where_another_symbol_begins() {
        let list = "01 T a\n05 t poke_int3_handler\n05 t alias\n09 t exc_int3\n0c T asm_exc_int3\n11 T b\n";
        assert_eq!(super::handlers(list.lines().map(str::to_owned)), ["05-09", "09-0c", "0c-11"]);
    }
}
