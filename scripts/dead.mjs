/**
 * What nobody uses: files, exports, dependencies. `knip.jsonc` says who may use what. It looks
 * twice, because an export that only tests use is dead unless its comment says `@forTests`:
 * once with the tests, and once without them, where types do not count (they cost nothing).
 *
 *   npm run dead            all that is found, status 1 if anything
 *   npm run dead -- --fix   takes away the exports that nobody uses (not those of tests)
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

// Its door is dist/index.js; the command is beside dist.
const KNIP = join(createRequire(import.meta.url).resolve("knip"), "../../bin/knip.js");
// The build's options tell that a file of dist is one of src; a hint is a line that says nothing.
const EACH = ["--tsConfig", "tsconfig.build.json", "--treat-config-hints-as-errors"];
const WITHOUT_TESTS = ["--production", "--tags=-forTests", "--exclude", "types"];

if (!existsSync("dist")) {
  console.error("dead: build first: what scripts take from dist would look as if nobody took it");
  process.exit(2);
}

function look(words) {
  const args = [KNIP, ...EACH, ...words];
  return spawnSync(process.execPath, args, { stdio: "inherit" }).status;
}

const fix = process.argv.includes("--fix") ? ["--fix", "--fix-type", "exports,types"] : [];
const all = look(fix);
console.log(all === 0 ? "With the tests: nothing is dead." : "");
const withoutTests = look([...WITHOUT_TESTS, "--treat-tag-hints-as-errors"]);
console.log(withoutTests === 0 ? "Without them: nothing but what says @forTests." : "");
process.exitCode = all === 0 && withoutTests === 0 ? 0 : 1;
