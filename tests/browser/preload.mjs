// A library of a few lines that goes before the C library's functions, so that the kernel seems to do what it seldom does.

import { execFileSync } from "node:child_process";
import { join } from "node:path";

/** Compiles it into this folder. Gives the file for `LD_PRELOAD`. */
export function preloadable(folder, source) {
  const library = join(folder, "preloaded.so");
  execFileSync("cc", ["-shared", "-fPIC", "-o", library, "-x", "c", "-"], { input: source, stdio: "pipe", timeout: 20_000 });
  return library;
}
