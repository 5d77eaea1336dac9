//! Reads a TOML document key by key, keeps every fault with its line, and knows which keys nobody asked for.
//!
//! It knows TOML and units; it does not know any key of the configuration by name.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::document::Document;
use super::notes::{Notes, join, nearest};
use super::problem::{At, Place, Wrong, wrong};

/// Reads one table of a document. Getters return nothing when a key is absent or bad; a bad one has
/// gone to the notes by then.
pub(super) struct Reader<'d> {
    document: &'d Document,
    notes: &'d Notes,
    path: String,
    /// The byte at which the name of this table begins, where it is written.
    here: Option<usize>,
    table: Option<&'d DeTable<'d>>,
    asked: BTreeSet<&'static str>,
}

impl<'d> Reader<'d> {
    /// Starts at the top of a parsed document.
    pub(super) fn new(document: &'d Document, table: &'d DeTable<'d>, notes: &'d Notes) -> Self {
        Self {
            document,
            notes,
            path: String::new(),
            here: None,
            table: Some(table),
            asked: BTreeSet::new(),
        }
    }

    /// Where this table begins, if the document has it.
    pub(super) fn present(&self) -> Option<Place> {
        self.table.map(|_| self.document.spot(self.here, &self.path))
    }

    /// Whether the document has this key at all, good or bad.
    pub(super) fn wrote(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// The place to name when a key is missing: the line of the table that should hold it.
    pub(super) fn missing(&self, key: &str) -> Place {
        self.document.spot(self.here, &join(&self.path, key))
    }

    /// The notes this reader writes to.
    pub(super) fn notes(&self) -> &'d Notes {
        self.notes
    }

    /// A table inside this one. An absent one reads as a table in which every key is absent.
    pub(super) fn table(&mut self, key: &'static str) -> Reader<'d> {
        let found = self.ask(key);
        let path = join(&self.path, key);
        let table = match found {
            Some((_, DeValue::Table(table))) => Some(table),
            Some((place, other)) => {
                self.notes.problem(
                    &place,
                    wrong(
                        format!("should be a table but is {}", kind_of(other)),
                        format!("write [{path}] on a line of its own and its keys below"),
                    ),
                );
                None
            }
            None => None,
        };
        Reader {
            document: self.document,
            notes: self.notes,
            here: table.and_then(|_| self.offset_of(key)),
            path,
            table,
            asked: BTreeSet::new(),
        }
    }

    /// The tables of a list written with `[[...]]`. An absent list reads as one table in which every key is
    /// absent, which has no `present`.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<Reader<'d>> {
        let path = join(&self.path, key);
        let reader = |here, table| Reader {
            document: self.document,
            notes: self.notes,
            path: path.clone(),
            here,
            table,
            asked: BTreeSet::new(),
        };
        let fix =
            format!("write [[{path}]] on a line of its own and its keys below, once for each");
        match self.ask(key) {
            None => vec![reader(None, None)],
            Some((_, DeValue::Array(items))) => {
                let mut tables = Vec::new();
                for item in items.iter() {
                    let start = item.span().start;
                    match item.get_ref() {
                        DeValue::Table(table) => tables.push(reader(Some(start), Some(table))),
                        other => {
                            let place = self.document.spot(Some(start), &path);
                            self.mismatch::<()>(&place, "a list of tables", other, fix.clone());
                        }
                    }
                }
                tables
            }
            Some((place, other)) => {
                self.mismatch::<()>(&place, "a list of tables", other, fix);
                Vec::new()
            }
        }
    }

    /// A text, or a list of texts.
    pub(super) fn text_or_texts(&mut self, key: &'static str) -> Option<At<Vec<At<String>>>> {
        let written = self.table.and_then(|table| table.get(key)).map(Spanned::get_ref);
        if matches!(written, Some(DeValue::Array(_))) {
            return self.texts(key);
        }
        self.text(key).map(|at| At { place: at.place.clone(), value: vec![at] })
    }

    /// A text that is not empty and holds no control characters.
    pub(super) fn text(&mut self, key: &'static str) -> Option<At<String>> {
        let (place, value) = self.ask(key)?;
        let DeValue::String(text) = value else {
            let fix = format!("write {key} = \"...\" with quotes");
            return self.mismatch(&place, "a text", value, fix);
        };
        match clean(text) {
            Ok(text) => Some(At { value: text, place }),
            Err(fault) => self.refused(&place, fault),
        }
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, key: &'static str) -> Option<At<bool>> {
        let (place, value) = self.ask(key)?;
        match value {
            DeValue::Boolean(value) => Some(At { value: *value, place }),
            other => {
                let fix = "write true or false, without quotes".to_owned();
                self.mismatch(&place, "true or false", other, fix)
            }
        }
    }

    /// A whole number within a range.
    pub(super) fn whole(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u32>,
    ) -> Option<At<u32>> {
        let (place, value) = self.ask(key)?;
        let value = self.whole_of(&place, value, &range)?;
        Some(At { value, place })
    }

    /// Two whole numbers, each within its range, such as a width and a height.
    pub(super) fn pair(
        &mut self,
        key: &'static str,
        ranges: [RangeInclusive<u32>; 2],
        example: &str,
    ) -> Option<At<[u32; 2]>> {
        let (place, value) = self.ask(key)?;
        let DeValue::Array(items) = value else {
            let fix = format!("write {key} = {example}");
            return self.mismatch(&place, "a list of two numbers", value, fix);
        };
        if items.len() != 2 {
            let fault = wrong(
                format!("should hold two numbers but holds {}", items.len()),
                format!("write {key} = {example}"),
            );
            return self.refused(&place, fault);
        }
        let mut both = [0; 2];
        let mut good = true;
        for ((slot, item), range) in both.iter_mut().zip(items.iter()).zip(&ranges) {
            match self.whole_of(&place, item.get_ref(), range) {
                Some(value) => *slot = value,
                None => good = false,
            }
        }
        good.then_some(At { value: both, place })
    }

    /// A time with its unit, such as `"45s"`, within a range.
    pub(super) fn duration(
        &mut self,
        key: &'static str,
        range: RangeInclusive<Duration>,
    ) -> Option<At<Duration>> {
        let (place, value) = self.ask(key)?;
        let text = match value {
            DeValue::String(text) => text.as_ref(),
            DeValue::Integer(number) => {
                let fault = wrong(
                    "has no unit",
                    format!("write {key} = \"{number}s\" if seconds are meant"),
                );
                return self.refused(&place, fault);
            }
            other => {
                let fix = format!("write {key} = \"45s\"");
                return self.mismatch(&place, "a time with its unit", other, fix);
            }
        };
        let Ok(value) = humantime::parse_duration(text) else {
            let fault = wrong(
                format!("is \"{}\", which is not a time", text.escape_debug()),
                "write a number and its unit, such as \"500ms\", \"45s\" or \"10min\"",
            );
            return self.refused(&place, fault);
        };
        if range.contains(&value) {
            return Some(At { value, place });
        }
        let fault = wrong(
            format!("is {}, which is out of range", human(value)),
            format!("write {} to {}", human(*range.start()), human(*range.end())),
        );
        self.refused(&place, fault)
    }

    /// A time as for `duration`, or "off".
    pub(super) fn duration_or_off(
        &mut self,
        key: &'static str,
        range: RangeInclusive<Duration>,
    ) -> Option<At<Option<Duration>>> {
        let (place, value) = self.ask(key)?;
        if matches!(value, DeValue::String(text) if text.as_ref() == "off") {
            return Some(At { value: None, place });
        }
        self.duration(key, range).map(|at| at.map(Some))
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(
        &mut self,
        key: &'static str,
        words: &[(&str, T)],
    ) -> Option<At<T>> {
        let written = self.text(key)?;
        let found = words.iter().find(|(word, _)| *word == written.value);
        if let Some((_, value)) = found {
            return Some(written.map(|_| *value));
        }
        let quoted: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let all = quoted.join(" or ");
        let fix = match nearest(&written.value, words.iter().map(|(word, _)| *word)) {
            Some(near) if words.len() > 1 => format!("did you mean \"{near}\"? It can be {all}"),
            _ => format!("write {all}"),
        };
        let what = format!("is \"{}\"", written.value);
        self.refused(&written.place, wrong(what, fix))
    }

    /// A list of texts, each not empty.
    pub(super) fn texts(&mut self, key: &'static str) -> Option<At<Vec<At<String>>>> {
        let (place, value) = self.ask(key)?;
        let fix = || format!("write {key} = [\"...\", \"...\"]");
        let DeValue::Array(items) = value else {
            return self.mismatch(&place, "a list of texts", value, fix());
        };
        let mut texts = Vec::new();
        let mut good = true;
        for item in items.iter() {
            let place = self.document.spot(Some(item.span().start), &join(&self.path, key));
            match item.get_ref() {
                DeValue::String(text) => match clean(text) {
                    Ok(value) => texts.push(At { value, place }),
                    Err(fault) => {
                        self.notes.problem(&place, fault);
                        good = false;
                    }
                },
                other => {
                    self.mismatch::<()>(&place, "a list of texts", other, fix());
                    good = false;
                }
            }
        }
        good.then_some(At { value: texts, place })
    }

    /// A table of numbers under names of the writer's choice; `true` and `false` count as 1 and 0.
    pub(super) fn numbers(&mut self, key: &'static str) -> Vec<(String, At<i64>)> {
        let table = self.table(key);
        let Some(rows) = table.table else { return Vec::new() };
        let mut numbers = Vec::new();
        for (name, value) in rows.iter() {
            let place = table.place_of(name);
            let name = name.get_ref().as_ref();
            let value = match value.get_ref() {
                DeValue::Boolean(on) => Some(i64::from(*on)),
                DeValue::Integer(number) => {
                    i64::from_str_radix(number.as_str(), number.radix()).ok()
                }
                _ => None,
            };
            match value {
                Some(value) => numbers.push((name.to_owned(), At { value, place })),
                None => {
                    let fault = wrong(
                        "is no whole number",
                        format!("write {name} = 1, or true or false for a switch"),
                    );
                    self.notes.problem(&place, fault);
                }
            }
        }
        numbers
    }

    /// A text or a whole number not below 0.
    pub(super) fn text_or_whole(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u32>,
    ) -> Option<At<Result<String, u32>>> {
        let written = self.table.and_then(|table| table.get(key)).map(Spanned::get_ref);
        if matches!(written, Some(DeValue::Integer(_))) {
            self.whole(key, range).map(|at| at.map(Err))
        } else {
            self.text(key).map(|at| at.map(Ok))
        }
    }

    /// Refuses a key that people are likely to write here, with words of its own.
    pub(super) fn refuse(&mut self, key: &'static str, fault: Wrong) {
        if let Some((place, _)) = self.look(key) {
            self.asked.insert(key);
            self.notes.problem(&place, fault);
        }
    }

    /// Ends the reading of this table: what nobody asked for goes to the notes.
    pub(super) fn finish(self) {
        let Some(table) = self.table else { return };
        for (key, _) in table.iter() {
            if !self.asked.contains(key.get_ref().as_ref()) {
                let place = self.place_of(key);
                self.notes.unknown(self.document.kind(), &self.path, key.get_ref(), place);
            }
        }
    }

    fn ask(&mut self, key: &'static str) -> Option<(Place, &'d DeValue<'d>)> {
        self.asked.insert(key);
        self.notes.known(self.document.kind(), &self.path, key);
        self.look(key)
    }

    fn look(&self, key: &str) -> Option<(Place, &'d DeValue<'d>)> {
        let (key, value) = self.table?.get_key_value(key)?;
        Some((self.place_of(key), value.get_ref()))
    }

    fn place_of(&self, key: &Spanned<DeString<'_>>) -> Place {
        self.document.spot(Some(key.span().start), &join(&self.path, key.get_ref()))
    }

    fn offset_of(&self, key: &str) -> Option<usize> {
        let (key, _) = self.table?.get_key_value(key)?;
        Some(key.span().start)
    }

    fn whole_of(
        &self,
        place: &Place,
        value: &DeValue<'_>,
        range: &RangeInclusive<u32>,
    ) -> Option<u32> {
        let fix = format!("write {} to {}", range.start(), range.end());
        let DeValue::Integer(number) = value else {
            return self.mismatch(place, "a whole number", value, fix);
        };
        let parsed = u32::from_str_radix(number.as_str(), number.radix()).ok();
        match parsed.filter(|value| range.contains(value)) {
            Some(value) => Some(value),
            None => self.refused(place, wrong(format!("is {number}, which is out of range"), fix)),
        }
    }

    fn mismatch<T>(
        &self,
        place: &Place,
        wanted: &str,
        found: &DeValue<'_>,
        fix: String,
    ) -> Option<T> {
        let what = format!("should be {wanted} but is {}", kind_of(found));
        self.refused(place, wrong(what, fix))
    }

    fn refused<T>(&self, place: &Place, fault: Wrong) -> Option<T> {
        self.notes.problem(place, fault);
        None
    }
}

/// A time as people write it.
pub(super) fn human(time: Duration) -> String {
    humantime::format_duration(time).to_string()
}

fn clean(text: &str) -> Result<String, Wrong> {
    if text.trim().is_empty() {
        return Err(wrong("is empty", "write a value or delete the line"));
    }
    if text.chars().any(char::is_control) {
        return Err(wrong(
            "holds a control character",
            "write it on one line without tabs or escapes",
        ));
    }
    Ok(text.to_owned())
}

fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::notes::Kind;
    use std::path::PathBuf;

    /// Reads `text` with `look` and returns what came out and what was noted.
    fn read<T>(text: &str, look: impl FnOnce(&mut Reader<'_>) -> T) -> (T, String) {
        let notes = Notes::default();
        let document = Document::new(Kind::Config, "f", PathBuf::new(), text.to_owned());
        let table = document.parse(&notes).expect("the test writes TOML");
        let mut root = Reader::new(&document, &table, &notes);
        let seen = look(&mut root);
        root.finish();
        let noted = match notes.finish() {
            Ok(warnings) => warnings.join("\n"),
            Err(problems) => problems.to_string(),
        };
        (seen, noted)
    }

    #[test]
    fn absent_keys_are_no_problem() {
        let (seen, noted) = read("", |root| {
            let mut table = root.table("t");
            assert!(table.present().is_none());
            assert!(table.texts("e").is_none());
            (root.text("a"), root.flag("b"), root.whole("c", 0..=9))
        });
        assert_eq!(seen, (None, None, None));
        assert_eq!(noted, "");
    }

    #[test]
    fn values_come_with_the_line_of_their_key() {
        let (seen, noted) = read("\n[t]\nlist = [\n 'a',\n 'b',\n]\n", |root| {
            let mut table = root.table("t");
            let list = table.texts("list").expect("it is a list");
            table.finish();
            let lines = list.value.iter().map(|item| item.place.line());
            (list.place.line(), lines.collect::<Vec<_>>())
        });
        assert_eq!(seen, (Some(3), vec![Some(4), Some(5)]));
        assert_eq!(noted, "");
    }

    #[test]
    fn a_list_of_tables_is_read_one_by_one_with_the_line_of_each() {
        let text = "[[t.s]]\nurl = 'a'\n[[t.s]]\nurl = ['b', 'c']\nx = 1\n";
        let (seen, noted) = read(text, |root| {
            let mut table = root.table("t");
            let each = table.tables("s").into_iter().map(|mut one| {
                let urls = one.text_or_texts("url").map(|at| at.value.len());
                let place = one.missing("y").to_string();
                one.finish();
                (urls, place)
            });
            let seen = each.collect::<Vec<_>>();
            table.finish();
            seen
        });
        assert_eq!(seen, [(Some(1), "t.s.y (f:1)".into()), (Some(2), "t.s.y (f:3)".into())]);
        assert!(noted.contains("f:5: t.s.x"), "{noted}");
    }

    #[test]
    fn an_absent_list_of_tables_is_one_table_that_is_not_there() {
        let (seen, noted) = read("", |root| {
            root.tables("s").iter().map(|one| one.present().is_some()).collect::<Vec<_>>()
        });
        assert_eq!((seen, noted.as_str()), (vec![false], ""));
        let (seen, noted) = read("s = 5", |root| root.tables("s").len());
        assert_eq!(seen, 0);
        assert!(noted.contains("[[s]]"), "{noted}");
        let (_, noted) = read("s = [5]", |root| root.tables("s").len());
        assert!(noted.contains("f:1: s: should be a list of tables"), "{noted}");
    }

    #[test]
    fn a_missing_key_is_looked_for_at_its_table() {
        let (place, _) = read("\n\n[t]\n", |root| root.table("t").missing("k"));
        assert_eq!(place.to_string(), "t.k (f:3)");
        let (place, _) = read("", |root| root.table("t").missing("k"));
        assert_eq!(place.to_string(), "t.k (f)");
    }

    #[test]
    fn whole_numbers_may_be_written_in_any_way_toml_has() {
        for (text, expected) in [("1_000", 1000), ("0x10", 16), ("0b11", 3), ("+7", 7)] {
            let (seen, noted) = read(&format!("n = {text}"), |root| root.whole("n", 0..=1000));
            assert_eq!(seen.map(|at| at.value), Some(expected), "{noted}");
        }
    }

    #[test]
    fn numbers_too_large_for_us_are_out_of_range_not_wrapped() {
        for text in ["4294967296", "99999999999999999999", "-1"] {
            let (seen, noted) = read(&format!("n = {text}"), |root| root.whole("n", 0..=9));
            assert_eq!(seen, None);
            assert!(noted.contains("f:1: n: is"), "{noted}");
        }
    }

    #[test]
    fn times_are_read_with_their_unit() {
        let range = Duration::ZERO..=Duration::from_secs(3600);
        for (text, seconds) in [("45s", 45), ("10min", 600), ("1m 30s", 90), ("0s", 0)] {
            let config = format!("t = \"{text}\"");
            let (seen, noted) = read(&config, |root| root.duration("t", range.clone()));
            let expected = Duration::from_secs(seconds);
            assert_eq!(seen.map(|at| at.value), Some(expected), "{noted}");
        }
    }

    #[test]
    fn texts_with_control_characters_are_refused() {
        let (seen, noted) = read("a = \"x\\ty\"", |root| root.text("a"));
        assert_eq!(seen, None);
        assert!(noted.contains("control character"), "{noted}");
    }

    #[test]
    fn a_strange_key_cannot_break_the_list_of_problems() {
        let (_, noted) = read("\"a\\nb\" = 1", |_| ());
        assert_eq!(noted.lines().count(), 1, "{noted}");
    }

    #[test]
    fn keys_refused_with_words_of_their_own_are_not_unknown_too() {
        let (_, noted) = read("old = 1", |root| root.refuse("old", wrong("w", "f")));
        assert_eq!(noted, "f:1: old: w; f");
    }
}
