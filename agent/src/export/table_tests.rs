use super::*;

fn narrow(width: usize) -> Paint {
    Paint { width: Some(width), ..Paint::PLAIN }
}

/// As `lacuna incidents` has it.
fn incidents() -> Table {
    let mut table = Table::new(&["ID", "LENGTH", "CLASS", "SURE", "SUMMARY"]);
    table.row([
        plain("01JD6QAAAA0000000000000001"),
        plain("15.8 s"),
        ("path-drop".into(), Look::Bold),
        plain("99 %"),
        plain("db1 and lb1 both ran and lost each other's packets for 15.8 s: 158 heartbeats"),
    ]);
    table
}

#[test]
fn columns_align_by_what_is_seen_whatever_the_colour() {
    let mut table = Table::new(&["NAME", "STATE"]);
    table.row([plain("lb1"), ("up".into(), Look::Good)]);
    table.row([plain("größer"), plain("")]);
    table.row([plain("数据库"), plain("up")]);
    let plain = table.render(Paint::PLAIN, "  ");
    assert_eq!(plain, "  NAME    STATE\n  lb1     up\n  größer\n  数据库  up\n");
    let coloured = table.render(Paint { colour: true, width: None }, "");
    assert!(coloured.contains("lb1     \u{1b}[32mup\u{1b}[0m\n"), "{coloured:?}");
}

#[test]
fn nothing_steers_the_terminal() {
    let paint = Paint { colour: true, width: None };
    assert_eq!(paint.paint("a\u{1b}]0;x\u{7}\nb", Look::Plain), "a\\u{1b}]0;x\\u{7}\\nb");
    assert_eq!(clean("lb1\u{202e}2bl"), "lb1\\u{202e}2bl", "nor turns the text around");
}

#[test]
fn a_long_last_column_is_wrapped_in_its_place() {
    let expected = "\
ID                          LENGTH  CLASS      SURE  SUMMARY
01JD6QAAAA0000000000000001  15.8 s  path-drop  99 %  db1 and lb1 both ran and
                                                     lost each other's
                                                     packets for 15.8 s: 158
                                                     heartbeats
";
    assert_eq!(incidents().render(narrow(77), ""), expected);
}

#[test]
fn what_has_no_room_beside_the_others_stands_below_and_an_id_is_never_cut() {
    let expected = "\
ID                          LENGTH  CLASS
01JD6QAAAA0000000000000001  15.8 s  path-drop
    sure 99 %
    db1 and lb1 both ran and lost each other's
    packets for 15.8 s: 158 heartbeats
";
    assert_eq!(incidents().render(narrow(50), ""), expected);
    let expected = "\
ID
01JD6QAAAA0000000000000001
    length 15.8 s
    class path-drop
    sure 99 %
    db1 and lb1 both
";
    let text = incidents().render(narrow(22), "");
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn no_line_is_longer_than_the_terminal_but_for_a_word_that_is() {
    for width in 26..140 {
        for line in incidents().render(narrow(width), "").lines() {
            assert!(columns(line) <= width, "{width}: {line}");
        }
    }
}

#[test]
fn a_last_column_is_not_wrapped_where_that_would_cut_an_id() {
    let mut table = Table::bare();
    table.row([plain("Trace"), plain("5f0c0000000000000000000000000001")]);
    table.row([plain("Clock source"), plain("tsc")]);
    assert_eq!(table.render(narrow(46), "").lines().next(), Some("Trace         5f0c0000000000000000000000000001"));
    let below = "Trace\n    5f0c0000000000000000000000000001\nClock source  tsc\n";
    assert_eq!(table.render(narrow(40), ""), below.replace("  tsc", "\n    tsc"));
}

#[test]
fn figures_that_are_not_known_take_no_room_below() {
    let mut table = Table::new(&["NAME", "RTT", "OFFSET", "LOST"]);
    table.row([plain("loadbalancer1"), plain("-"), plain("+1.5 ms"), plain("3")]);
    assert_eq!(table.render(narrow(14), "").lines().nth(1), Some("loadbalancer1"));
    assert_eq!(table.render(narrow(14), "").lines().nth(2), Some("    offset +1.5 ms"));
    assert_eq!(table.render(narrow(14), "").lines().nth(3), Some("    lost 3"));
}

#[test]
fn a_paragraph_hangs_behind_its_first_words() {
    let text = narrow(20).paragraph("  - ", "lb1 has the same boot id", Look::Plain);
    assert_eq!(text, "  - lb1 has the same\n    boot id\n");
    assert_eq!(Paint::PLAIN.paragraph("  - ", "a b", Look::Plain), "  - a b\n");
}

#[test]
fn aligned_cells_are_as_wide_as_their_columns() {
    let mut table = Table::new(&["NAME", "STATE"]);
    table.row([plain("数据库"), ("up".into(), Look::Good)]);
    let rows = table.aligned();
    assert_eq!(rows[0], [("NAME    ".to_owned(), Look::Bold), ("STATE".to_owned(), Look::Bold)]);
    assert_eq!(rows[1], [("数据库  ".to_owned(), Look::Plain), ("up".to_owned(), Look::Good)]);
}
