//! Device trees and overlays through the tools of device-tree-compiler, each of which has to succeed without a
//! warning.

use std::process::{Command, Output};

use tempfile::TempDir;

use super::root;

fn tool(name: &str, arguments: &[&str]) -> Output {
    Command::new(name)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{name}: {error}; install the package device-tree-compiler"))
}

/// Runs a tool that has to succeed and to warn of nothing but what `harmless` excuses.
fn silent(name: &str, arguments: &[&str], harmless: fn(&str) -> bool) -> String {
    let output = tool(name, arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let warnings: Vec<&str> =
        said.lines().filter(|line| !line.trim().is_empty() && !harmless(line)).collect();
    assert!(
        output.status.success() && warnings.is_empty(),
        "{name} {arguments:?}: {}\n{}",
        output.status,
        warnings.join("\n")
    );
    String::from_utf8(output.stdout).expect("the tools write text")
}

/// A compiled device tree or overlay in a folder of its own.
pub struct Blob {
    folder: TempDir,
}

impl Blob {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    fn path(&self) -> String {
        self.folder.path().join("blob").to_str().expect("a plain path").to_owned()
    }

    fn compile(source: &str) -> Self {
        let blob = Self::new();
        let source = root().join(source);
        let source = source.to_str().expect("a plain path");
        // The check takes the parameter `gpio` for a reference to a line; references proper are checked
        // once the overlay is merged.
        let options = ["-@", "-I", "dts", "-O", "dtb", "-W", "no-gpios_property", "-o"];
        silent("dtc", &[&options[..], &[&blob.path(), source]].concat(), |_| false);
        blob
    }

    /// What matters of a board's own tree.
    pub fn base(board: &str) -> Self {
        Self::compile(&format!("tests/data/dt/{board}.dts"))
    }

    /// One of ours.
    pub fn overlay(name: &str) -> Self {
        Self::compile(&format!("board/overlays/{name}.dts"))
    }

    /// This tree with the overlay in it, read back once to have every reference in it checked.
    pub fn with(&self, overlay: &Self) -> Self {
        let merged = Self::new();
        silent("fdtoverlay", &["-i", &self.path(), "-o", &merged.path(), &overlay.path()], |_| {
            false
        });
        // The list of labels holds paths under the labels' names, one of which is `gpio`.
        silent("dtc", &["-I", "dtb", "-O", "dts", "-o", "/dev/null", &merged.path()], |line| {
            line.contains("/__symbols__:")
        });
        merged
    }

    /// The node with this label.
    pub fn labelled(&self, label: &str) -> String {
        self.text("/__symbols__", label)
    }

    fn get(&self, form: &str, node: &str, property: &str) -> String {
        silent("fdtget", &["-t", form, &self.path(), node, property], |_| false).trim().to_owned()
    }

    pub fn text(&self, node: &str, property: &str) -> String {
        self.get("s", node, property)
    }

    pub fn cells(&self, node: &str, property: &str) -> Vec<u32> {
        let cells = self.get("x", node, property);
        let cells = cells.split_whitespace();
        cells.map(|cell| u32::from_str_radix(cell, 16).expect("a cell")).collect()
    }

    fn bytes(&self, node: &str, property: &str) -> Vec<u8> {
        let bytes = self.get("bx", node, property);
        let bytes = bytes.split_whitespace();
        bytes.map(|byte| u8::from_str_radix(byte, 16).expect("a byte")).collect()
    }

    pub fn texts(&self, node: &str, property: &str) -> Vec<String> {
        let bytes = self.bytes(node, property);
        let bytes = bytes.strip_suffix(&[0]).expect("texts end with NUL");
        bytes.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into()).collect()
    }

    pub fn list(&self, what: &str, node: &str) -> Vec<String> {
        let list = silent("fdtget", &[what, &self.path(), node], |_| false);
        list.lines().map(str::to_owned).filter(|name| !name.is_empty()).collect()
    }

    /// All nodes below this one, and it.
    fn nodes(&self, node: &str) -> Vec<String> {
        let children = self.list("-l", node).into_iter().map(|child| match node {
            "/" => format!("/{child}"),
            _ => format!("{node}/{child}"),
        });
        let below = children.flat_map(|child| self.nodes(&child));
        std::iter::once(node.to_owned()).chain(below).collect()
    }

    fn node_of(&self, phandle: u32) -> String {
        let of = |node: &String| {
            let has = self.list("-p", node).iter().any(|name| name == "phandle");
            has && self.cells(node, "phandle") == [phandle]
        };
        self.nodes("/").into_iter().find(of).unwrap_or_else(|| panic!("no node {phandle:#x}"))
    }

    /// The cells a parameter of an overlay sets: node, property, which cell.
    pub fn targets(&self, parameter: &str) -> Vec<(String, String, usize)> {
        let mut rest = &self.bytes("/__overrides__", parameter)[..];
        let mut targets = Vec::new();
        while let Some((phandle, after)) = rest.split_first_chunk::<4>() {
            let end = after.iter().position(|byte| *byte == 0).expect("NUL after the target");
            let target = std::str::from_utf8(&after[..end]).expect("a target is text");
            let (property, offset) = target.split_once(':').expect("a number parameter");
            let offset: usize = offset.parse().expect("an offset in bytes");
            assert_eq!(offset % 4, 0, "{parameter}: {target} is not at the start of a cell");
            let node = self.node_of(u32::from_be_bytes(*phandle));
            targets.push((node, property.to_owned(), offset / 4));
            rest = &after[end + 1..];
        }
        targets
    }

    /// Sets a parameter of an overlay, as the Raspberry Pi's firmware does from config.txt.
    pub fn set(&self, parameter: &str, value: u32) {
        for (node, property, cell) in self.targets(parameter) {
            let mut cells = self.cells(&node, &property);
            cells[cell] = value;
            let cells: Vec<String> = cells.iter().map(|cell| format!("{cell:x}")).collect();
            let path = self.path();
            let mut arguments = vec!["-t", "x", &path, &node, &property];
            arguments.extend(cells.iter().map(String::as_str));
            silent("fdtput", &arguments, |_| false);
        }
    }
}
