// A certificate authority of this run, for servers that a door has to trust.

import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

/**
 * Makes `ca.crt` and, by it, `server.crt` and `server.key`, good for two days.
 *
 * @param {string} folder
 * @param {string[]} names of the server, as OpenSSL writes them: `DNS:localhost`, `IP:192.0.2.1`
 * @returns {string} the authority's file
 */
export function certify(folder, names) {
  const file = (name) => join(folder, name);
  const openssl = (...words) => execFileSync("openssl", words, { stdio: "pipe", timeout: 30_000 });
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  openssl("req", "-x509", ...key, "-keyout", file("ca.key"), "-out", file("ca.crt"), "-days", "2", "-subj", "/CN=test authority", "-addext", "keyUsage=critical,keyCertSign");
  openssl("req", ...key, "-keyout", file("server.key"), "-out", file("server.csr"), "-subj", "/CN=server.example");
  writeFileSync(file("ext"), `subjectAltName=${names.join(",")}\nextendedKeyUsage=serverAuth\n`);
  openssl("x509", "-req", "-in", file("server.csr"), "-CA", file("ca.crt"), "-CAkey", file("ca.key"), "-CAcreateserial", "-days", "2", "-extfile", file("ext"), "-out", file("server.crt"));
  return file("ca.crt");
}
