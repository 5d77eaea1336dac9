// Makes the snapshot every test starts from, unless there is one.

import { makeSnapshot } from "./guest.mjs";

await makeSnapshot();
