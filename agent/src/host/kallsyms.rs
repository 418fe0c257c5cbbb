//! Names for addresses of the kernel (`/proc/kallsyms`).

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};

use super::HostFiles;

/// Most bytes of `/proc/kallsyms` that are read; a kernel with all its modules has about 10 MB.
const MAX_BYTES: u64 = 128 * 1024 * 1024;

/// Further than this from the symbol before it, an address belongs to something that has no symbol. The largest
/// functions of the kernel have some 100 kB.
const MAX_OFFSET: u64 = 1024 * 1024;

/// A function of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its first address.
    pub begin: u64,
    /// The first address beyond it, at most.
    pub end: u64,
    /// Its name.
    pub name: String,
}

impl Function {
    /// `name+0x12` for an address in it.
    #[must_use]
    pub fn place(&self, address: u64) -> Option<String> {
        (self.begin..self.end).contains(&address).then(|| format!("{}+{:#x}", self.name, address - self.begin))
    }
}

impl HostFiles {
    /// The functions whose name is `wanted`, each with where it begins and where the next one does, by address; for those that
    /// are asked for often, since the whole list takes long to read.
    #[must_use]
    pub fn functions(&self, wanted: impl Fn(&str) -> bool) -> Vec<Function> {
        let mut found: Vec<Function> = Vec::new();
        let mut before = None;
        self.each_symbol(|begin, name| {
            if let (Some(last), true) = (found.last_mut(), before.is_some_and(|before| before < begin)) {
                last.end = last.end.min(begin);
            }
            before = Some(begin);
            if wanted(name) {
                found.push(Function { begin, end: begin.saturating_add(MAX_OFFSET), name: name.to_owned() });
            }
        });
        found
    }

    fn each_symbol(&self, mut tell: impl FnMut(u64, &str)) {
        let Ok(file) = File::open(self.root.join("proc/kallsyms")) else { return };
        let mut reader = BufReader::with_capacity(64 * 1024, file.take(MAX_BYTES));
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
            if let Some((begin, name)) = parse(&line) {
                tell(begin, name);
            }
            line.clear();
        }
    }

    /// Each address as `name+0x12`, of a module as `name+0x12 [module]`; absent where nothing is known. Without
    /// `CAP_SYSLOG` (`kptr_restrict`) the kernel shows no addresses, and all of them are absent.
    ///
    /// One pass over the file for all addresses together, which takes some 100 ms; no table is kept.
    #[must_use]
    pub fn symbolise(&self, addresses: &[u64]) -> Vec<Option<String>> {
        let mut nearest: Vec<Option<(u64, String)>> = vec![None; addresses.len()];
        self.each_symbol(|begin, name| consider(addresses, &mut nearest, begin, name));
        addresses.iter().zip(nearest).map(|(address, found)| text(*address, found)).collect()
    }
}

/// Address and name, with the module where there is one; absent where the address is hidden.
fn parse(line: &str) -> Option<(u64, &str)> {
    let (address, rest) = line.split_once(' ')?;
    let (_kind, name) = rest.split_once(' ')?;
    let begin = u64::from_str_radix(address, 16).ok().filter(|begin| *begin > 0)?;
    Some((begin, name.trim_end()))
}

/// Keeps the symbol for the addresses that it is nearer to than any before; of several at one address the first.
fn consider(addresses: &[u64], nearest: &mut [Option<(u64, String)>], begin: u64, name: &str) {
    for (address, best) in addresses.iter().zip(nearest) {
        if begin > *address || *address - begin > MAX_OFFSET {
            continue;
        }
        match best {
            Some((known, _)) if *known >= begin => {}
            Some((known, text)) => {
                *known = begin;
                name.clone_into(text);
            }
            None => *best = Some((begin, name.to_owned())),
        }
    }
}

fn text(address: u64, found: Option<(u64, String)>) -> Option<String> {
    let (begin, symbol) = found?;
    let offset = address.checked_sub(begin)?;
    Some(match symbol.split_once('\t') {
        Some((name, module)) => format!("{name}+{offset:#x} {module}"),
        None => format!("{symbol}+{offset:#x}"),
    })
}

#[cfg(test)]
mod tests {
    use super::super::fake;
    use super::*;

    const SYMBOLS: &str = "ffffffff81000000 T _text\nffffffff81000100 t do_idle\nffffffff81000100 t alias\n\
        ffffffff81000200 T schedule\nffffffffc0000000 t hog_init\t[hog]\n";

    fn check(address: u64, expected: Option<&str>) {
        let (_root, files) = fake(&[("proc/kallsyms", SYMBOLS)]);
        assert_eq!(files.symbolise(&[address]), [expected.map(str::to_owned)], "{address:#x}");
    }

    #[test]
    fn an_address_belongs_to_the_symbol_before_it() {
        check(0xffff_ffff_8100_0112, Some("do_idle+0x12"));
        check(0xffff_ffff_8100_0200, Some("schedule+0x0"));
        check(0xffff_ffff_c000_0040, Some("hog_init+0x40 [hog]"));
    }

    #[test]
    fn a_function_ends_where_the_next_one_begins() {
        let (_root, files) = fake(&[("proc/kallsyms", SYMBOLS)]);
        let found = files.functions(|name| name == "do_idle");
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].begin, found[0].end), (0xffff_ffff_8100_0100, 0xffff_ffff_8100_0200));
        assert_eq!(found[0].place(0xffff_ffff_8100_0112).as_deref(), Some("do_idle+0x12"));
        assert_eq!(found[0].place(0xffff_ffff_8100_0200), None);
    }

    #[test]
    fn a_symbol_at_the_end_of_all_addresses_ends_there() {
        let (_root, files) = fake(&[("proc/kallsyms", "fffffffffffffff0 A last\n")]);
        assert_eq!(files.functions(|_| true)[0].end, u64::MAX);
    }

    #[test]
    fn an_address_far_from_any_symbol_has_none() {
        check(0xffff_ffff_8000_0000, None);
        check(0xffff_ffff_9000_0000, None);
    }

    #[test]
    fn hidden_addresses_name_nothing() {
        let (_root, files) = fake(&[("proc/kallsyms", "0000000000000000 T _text\n0000000000000000 T schedule\n")]);
        assert_eq!(files.symbolise(&[1, 2]), [None, None]);
        assert_eq!(HostFiles::below(std::path::Path::new("/nowhere")).symbolise(&[1]), [None]);
    }

    #[test]
    fn symbols_need_no_order() {
        let (_root, files) =
            fake(&[("proc/kallsyms", "0000000000000300 t c\n0000000000000100 t a\n\n0200 t b\nrubbish")]);
        assert_eq!(files.symbolise(&[0x2ff, 0x301, 0x1]), [Some("b+0xff".into()), Some("c+0x1".into()), None]);
    }
}
