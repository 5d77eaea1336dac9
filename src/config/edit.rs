//! Changes single settings in the text of a configuration and leaves everything else as its owner wrote it, comments
//! and order included.
//!
//! Pure: text in, text out. Made for the reference (docs/config.toml) and what owners make of it: a setting that
//! stands there commented out is switched on in its place. Whether the result is any good is for the reader to say.

/// Sets a key of a table, or of the top if `table` is `None`. `value` is written as it is, so it has to be TOML.
pub fn set(text: &str, table: Option<&str>, key: &str, value: &str) -> String {
    let text = table.map_or_else(|| text.to_owned(), |table| enable(text, table));
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let (from, to) = section(&lines, table);
    let line = format!("{key} = {value}");
    let place = (from..to)
        .find(|at| names(&lines[*at], key))
        // One that is commented out counts only if none is written.
        .or_else(|| {
            (from..to).find(|at| lines[*at].strip_prefix('#').is_some_and(|rest| names(rest, key)))
        });
    match place {
        Some(at) => lines[at] = line,
        None => lines.insert(from, line),
    }
    lines.join("\n") + "\n"
}

/// Switches a table on: in its place if it stands there commented out, else at the end.
pub fn enable(text: &str, table: &str) -> String {
    let (wanted, commented) = (format!("[{table}]"), format!("#[{table}]"));
    let is = |line: &str, header: &str| line.trim_end() == header;
    if text.lines().any(|line| is(line, &wanted)) {
        return text.to_owned();
    }
    let mut done = false;
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        if !done && is(line, &commented) {
            done = true;
            lines.push(wanted.clone());
        } else {
            lines.push(line.to_owned());
        }
    }
    if !done {
        lines.extend([String::new(), wanted]);
    }
    lines.join("\n") + "\n"
}

/// The lines of a table after its header, or those of the top.
fn section(lines: &[String], table: Option<&str>) -> (usize, usize) {
    let from = match table {
        None => 0,
        Some(table) => {
            let header = format!("[{table}]");
            lines.iter().position(|line| line.trim_end() == header).map_or(lines.len(), |at| at + 1)
        }
    };
    // A header that is commented out ends a table as well: what follows it belongs to that.
    let is_header = |line: &String| line.starts_with('[') || line.starts_with("#[");
    let to = lines[from..].iter().position(is_header).map_or(lines.len(), |more| from + more);
    (from, to)
}

fn names(line: &str, key: &str) -> bool {
    line.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='))
}

/// A text as TOML writes it.
pub fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
# A door.
channel = \"front-door\"

# The service.
#[uplink]

# Its host.
#url = \"wss://rms.metered.ca\"

[camera]
# Which one.
#source = \"auto\"
rate = 25

[speaker]
#source = \"auto\"
";

    #[test]
    fn a_setting_is_changed_in_its_place_and_nothing_else_is() {
        let text = set(FILE, None, "channel", "\"back-door\"");
        assert_eq!(text, FILE.replace("front-door", "back-door"));
        let text = set(FILE, Some("camera"), "rate", "15");
        assert_eq!(text, FILE.replace("rate = 25", "rate = 15"));
    }

    #[test]
    fn what_is_commented_out_is_switched_on_where_it_stands() {
        let text = set(FILE, Some("speaker"), "source", "\"off\"");
        assert_eq!(
            text,
            FILE.replace("[speaker]\n#source = \"auto\"", "[speaker]\nsource = \"off\"")
        );
        let text = set(FILE, Some("uplink"), "url", "\"wss://other\"");
        let wanted = FILE
            .replace("#[uplink]", "[uplink]")
            .replace("#url = \"wss://rms.metered.ca\"", "url = \"wss://other\"");
        assert_eq!(text, wanted);
    }

    #[test]
    fn what_is_nowhere_is_added_to_its_table_or_at_the_end() {
        let text = set(FILE, Some("camera"), "size", "[640, 480]");
        assert_eq!(text, FILE.replace("[camera]\n", "[camera]\nsize = [640, 480]\n"));
        let text = set(FILE, Some("quiet"), "from", "\"22:00\"");
        assert!(text.ends_with("\n\n[quiet]\nfrom = \"22:00\"\n"), "{text}");
        assert_eq!(set("", None, "channel", "\"d\""), "channel = \"d\"\n");
    }

    #[test]
    fn a_key_is_not_taken_for_a_longer_one_or_for_one_of_another_table() {
        let text = "channel_name = 1\n[a]\nkey = 1\n[b]\nkey = 2\n";
        assert_eq!(set(text, None, "channel", "2"), format!("channel = 2\n{text}"));
        assert_eq!(set(text, Some("b"), "key", "3"), text.replace("key = 2", "key = 3"));
    }

    #[test]
    fn the_reference_can_be_changed_by_setting_after_setting_and_stays_toml() {
        let mut text = include_str!("../../docs/config.toml").to_owned();
        for (table, key, value) in [
            (None, "channel", "\"yard\""),
            (Some("uplink"), "key_file", "\"channel.key\""),
            (Some("camera"), "source", "\"off\""),
            (Some("microphone"), "source", "\"off\""),
            (Some("speaker"), "source", "\"off\""),
            (Some("display"), "language", "\"de\""),
            (Some("button"), "line", "\"GPIO5\""),
        ] {
            text = set(&text, table, key, value);
            let table =
                text.parse::<toml::Table>().unwrap_or_else(|error| panic!("{error}\n{text}"));
            assert!(!table.is_empty());
        }
        let table = text.parse::<toml::Table>().expect("TOML");
        assert_eq!(table["display"]["language"].as_str(), Some("de"));
        assert_eq!(table["button"]["line"].as_str(), Some("GPIO5"));
        assert_eq!(text.lines().count(), include_str!("../../docs/config.toml").lines().count());
    }
}
