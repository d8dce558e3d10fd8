/**
 * Prints the last lines of a run of CI and decides its exit status.
 * Usage: `node scripts/ci-verdict.mjs REPORT STATUS [REPORT STATUS]...`, for each part the counts
 * that it wrote (absent if it did not get that far) and its exit status. A part that ended badly
 * has at least one failure, and so has one that ran nothing.
 */
import { readFileSync } from "node:fs";

const TIMED_OUT = 124;
const words = process.argv.slice(2);

function readCounts(report) {
  try {
    return JSON.parse(readFileSync(report, "utf8"));
  } catch {
    return { passed: 0, failed: 0, skipped: [] };
  }
}

const total = { passed: 0, failed: 0, skipped: [] };
const lines = [];
for (let i = 0; i < words.length; i += 2) {
  const status = Number(words[i + 1]);
  const { passed, failed, skipped } = readCounts(words[i]);
  const isEmpty = failed === 0 && passed === 0 && skipped.length === 0;
  total.passed += passed;
  total.failed += status !== 0 || isEmpty ? Math.max(failed, 1) : failed;
  total.skipped.push(...skipped);
  if (status === TIMED_OUT) lines.push("the run was ended: it took too long");
  else if (status !== 0 && failed === 0) lines.push(`the run ended with status ${status}`);
  else if (isEmpty) lines.push("no test ran");
}
const { passed, failed, skipped } = total;
const skips = skipped.length === 0 ? "" : `, ${skipped.length} skipped`;
const all = [
  ...skipped.map((line) => `skipped: ${line}`),
  ...lines,
  `${passed} passed, ${failed} failed${skips}`,
];
process.stdout.write(`${all.join("\n")}\n`);
process.exitCode = failed > 0 ? 1 : 0;
