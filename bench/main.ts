/**
 * `npm run bench`: ratios of ours to a hand-written peer, taken side by side in one run, medians
 * of several rounds. `npm run bench -- NAME…` runs only those.
 */
import { benchDense } from "./dense.ts";
import { benchExplore } from "./explore.ts";
import { benchHost } from "./host.ts";
import { benchList } from "./list.ts";
import { benchMm } from "./mm.ts";
import { benchNotifier } from "./notifier.ts";
import { printRow } from "./ratio.ts";
import { benchTree } from "./tree.ts";

const BENCHES = {
  dense: benchDense,
  explore: benchExplore,
  host: benchHost,
  list: benchList,
  mm: benchMm,
  notifier: benchNotifier,
  tree: benchTree,
} as const;

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !(name in BENCHES));
if (unknown.length > 0) {
  console.error(`unknown bench ${unknown.join(", ")} (known: ${Object.keys(BENCHES).join(", ")})`);
  process.exit(2);
}
console.log(`node ${process.version}, ${process.platform} ${process.arch}`);
for (const [name, bench] of Object.entries(BENCHES)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  for (const row of await bench()) printRow(row);
}
process.exit(0);
