/**
 * Prints the last lines of a test run and decides its exit status.
 * Usage: `node scripts/ci-verdict.mjs REPORT STATUS`, the counts that the run wrote (absent if it
 * did not get that far) and its exit status. A run that ended badly has at least one failure.
 */
import { readFileSync } from "node:fs";

const TIMED_OUT = 124;
const [report, statusText] = process.argv.slice(2);
const status = Number(statusText);

function readCounts() {
  try {
    return JSON.parse(readFileSync(report, "utf8"));
  } catch {
    return undefined;
  }
}

const counts = readCounts() ?? { passed: 0, failed: 0, skipped: [] };
const failed = status === 0 ? counts.failed : Math.max(counts.failed, 1);
const noTests = failed === 0 && counts.passed === 0;

const lines = counts.skipped.map((line) => `skipped: ${line}`);
if (status === TIMED_OUT) lines.push("the run was ended: it took too long");
else if (status !== 0 && counts.failed === 0) lines.push(`the run ended with status ${status}`);
if (noTests) lines.push("no test ran");

const skips = counts.skipped.length === 0 ? "" : `, ${counts.skipped.length} skipped`;
lines.push(`${counts.passed} passed, ${noTests ? 1 : failed} failed${skips}`);
process.stdout.write(`${lines.join("\n")}\n`);
process.exitCode = failed > 0 || noTests ? 1 : 0;
