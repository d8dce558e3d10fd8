/**
 * How the tests run. Two processes at a time, because a test may hold a 4 GiB window and a device.
 * `ONESPACE_TEST_REPORT=file` also writes the counts there (what `.ci/run` prints).
 */
import { defineConfig } from "vitest/config";
import { CountReporter } from "./scripts/count-reporter.ts";

const report = process.env.ONESPACE_TEST_REPORT;

const fileOf = (path: string): string => new URL(path, import.meta.url).pathname;

export default defineConfig({
  // Node 20 knows neither `using` nor `await using`.
  oxc: { target: "es2022" },
  // Examples import the package by its name; here that is the source, not the last build.
  resolve: {
    alias: [
      { find: /^onespace$/, replacement: fileOf("src/machine/index.ts") },
      { find: /^onespace[/]driver$/, replacement: fileOf("src/driver-api.ts") },
      { find: /^onespace[/]explore$/, replacement: fileOf("src/explore/index.ts") },
    ],
  },
  test: {
    include: ["src/**/*.test.ts", "test/**/*.test.ts", "examples/**/*.test.ts"],
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // Tests read what commands print; colours would be on where CI is set (picocolors' rule).
    env: { NO_COLOR: "1" },
    reporters: report === undefined ? ["default"] : ["default", new CountReporter(report)],
  },
});
