/**
 * How the tests run. Two processes at a time, because a test may hold a 4 GiB window and a device.
 * `ONESPACE_TEST_REPORT=file` also writes the counts there (what `.ci/run` prints).
 */
import { defineConfig } from "vitest/config";
import { CountReporter } from "./scripts/count-reporter.ts";

const report = process.env.ONESPACE_TEST_REPORT;

export default defineConfig({
  // Node 20 knows neither `using` nor `await using`.
  oxc: { target: "es2022" },
  // Examples import the package by its name; here that is the source, not the last build.
  resolve: {
    alias: {
      "onespace/driver": new URL("src/driver-api.ts", import.meta.url).pathname,
      "onespace/explore": new URL("src/explore/index.ts", import.meta.url).pathname,
    },
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
