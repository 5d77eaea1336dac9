//! The overlays: that they compile, fit the boards they are for, and do what their parameters say.

use super::tree::Blob;
use super::{read, stems, wiring};

/// The boards whose GPIO controller has the label `gpio`, as every overlay of ours expects.
const RASPBERRY: &[&str] = &["rpi3", "rpi4", "rpi5", "zero2w"];

const KEYS: &str = "/intercom-keys";
const KEY: &str = "/intercom-keys/button-door";
const LEDS: &str = "/intercom-leds";
const LED: &str = "/intercom-leds/led-door";

#[test]
fn every_overlay_fits_every_raspberry_pi_without_a_warning() {
    let overlays = stems("board/overlays", ".dts");
    assert_eq!(overlays, ["intercom-button", "intercom-lamp"]);
    for board in RASPBERRY {
        let base = Blob::base(board);
        for overlay in &overlays {
            base.with(&Blob::overlay(overlay));
        }
    }
}

#[test]
fn the_button_becomes_a_key_that_is_no_power_key() {
    for board in RASPBERRY {
        let base = Blob::base(board);
        let merged = base.with(&Blob::overlay("intercom-button"));
        let gpio = merged.labelled("gpio");
        let phandle = merged.cells(&gpio, "phandle")[0];

        assert_eq!(merged.text(KEYS, "compatible"), "gpio-keys", "{board}");
        assert_eq!(merged.text(KEYS, "label"), "intercom-button");
        assert_eq!(merged.cells(KEY, "linux,code"), [0x100], "BTN_0");
        assert_eq!(merged.cells(KEY, "gpios"), [phandle, 17, 1], "GPIO17, active low");
        assert_eq!(merged.cells(KEY, "debounce-interval"), [30]);
        let pins = format!("{gpio}/intercom-button-pins");
        assert_eq!(merged.cells(KEYS, "pinctrl-0"), merged.cells(&pins, "phandle"));
        assert_eq!(merged.cells(&pins, "brcm,pins"), [17]);
        assert_eq!(merged.cells(&pins, "brcm,function"), [0], "input");
        assert_eq!(merged.cells(&pins, "brcm,pull"), [2], "up");
    }
}

#[test]
fn the_lamp_becomes_an_led_that_is_off_until_told() {
    for board in RASPBERRY {
        let base = Blob::base(board);
        let merged = base.with(&Blob::overlay("intercom-lamp"));
        let gpio = merged.labelled("gpio");
        let phandle = merged.cells(&gpio, "phandle")[0];

        assert_eq!(merged.text(LEDS, "compatible"), "gpio-leds", "{board}");
        assert_eq!(merged.text(LED, "label"), "intercom:lamp");
        assert_eq!(merged.text(LED, "default-state"), "off");
        assert_eq!(merged.cells(LED, "gpios"), [phandle, 22, 0], "GPIO22, active high");
        let pins = format!("{gpio}/intercom-lamp-pins");
        assert_eq!(merged.cells(LEDS, "pinctrl-0"), merged.cells(&pins, "phandle"));
        assert_eq!(merged.cells(&pins, "brcm,pins"), [22]);
        assert_eq!(merged.cells(&pins, "brcm,function"), [1], "output");
    }
}

#[test]
fn parameters_move_the_button_and_turn_its_polarity_round() {
    let base = Blob::base("rpi4");
    let overlay = Blob::overlay("intercom-button");
    overlay.set("gpio", 5);
    overlay.set("active_low", 0);
    overlay.set("gpio_pull", 1);
    overlay.set("debounce", 80);
    let merged = base.with(&overlay);
    let gpio = merged.labelled("gpio");
    assert_eq!(merged.cells(KEY, "gpios")[1..], [5, 0]);
    assert_eq!(merged.cells(KEY, "debounce-interval"), [80]);
    let pins = format!("{gpio}/intercom-button-pins");
    assert_eq!(merged.cells(&pins, "brcm,pins"), [5]);
    assert_eq!(merged.cells(&pins, "brcm,pull"), [1]);
}

#[test]
fn parameters_move_the_lamp_and_turn_its_polarity_round() {
    let base = Blob::base("rpi5");
    let overlay = Blob::overlay("intercom-lamp");
    overlay.set("gpio", 6);
    overlay.set("active_low", 1);
    let merged = base.with(&overlay);
    let gpio = merged.labelled("gpio");
    assert_eq!(merged.cells(LED, "gpios")[1..], [6, 1]);
    assert_eq!(merged.cells(&format!("{gpio}/intercom-lamp-pins"), "brcm,pins"), [6]);
}

#[test]
fn every_parameter_sets_cells_that_are_there_and_is_explained() {
    let readme = read("board/README.md");
    for name in stems("board/overlays", ".dts") {
        let overlay = Blob::overlay(&name);
        for parameter in overlay.list("-p", "/__overrides__") {
            let targets = overlay.targets(&parameter);
            assert!(!targets.is_empty(), "{name}: {parameter} sets nothing");
            for (node, property, cell) in targets {
                let cells = overlay.cells(&node, &property).len();
                assert!(cell < cells, "{name}: {parameter}: {node} {property} has {cells} cells");
            }
            let row = format!("| `{name}` | `{parameter}` |");
            assert!(readme.contains(&row), "board/README.md lacks a row {row}");
        }
    }
}

#[test]
fn an_overlay_takes_the_line_the_profile_would_have_had() {
    for board in RASPBERRY {
        let base = Blob::base(board);
        for (overlay, node, part) in
            [("intercom-button", KEY, "button"), ("intercom-lamp", LED, "lamp")]
        {
            let number = base.with(&Blob::overlay(overlay)).cells(node, "gpios")[1];
            assert_eq!(wiring(board)[part].line, format!("GPIO{number}"), "{overlay} on {board}");
        }
    }
}
