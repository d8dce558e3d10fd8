/** The built command line, in processes of its own, and scenarios in files of their own. */
import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const MAIN = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
const DOOR = new URL("../../dist/museum/index.js", import.meta.url).href;

export interface Ended {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
  /** The object of the last line, with `--json`. */
  readonly json: Record<string, unknown>;
}

/** `onespace explore WORDS…` */
export function explored(...words: readonly string[]): Promise<Ended> {
  return new Promise((resolve) => {
    const all = [MAIN, "explore", ...words];
    execFile(process.execPath, all, { encoding: "utf8" }, (error, stdout, stderr) => {
      const last = stdout.trimEnd().split("\n").at(-1) ?? "";
      const json = last.startsWith("{") ? JSON.parse(last) : {};
      resolve({ status: error === null ? 0 : Number(error.code), stdout, stderr, json });
    });
  });
}

/**
 * Writes a module to `folder` that exports a scenario for each of `builds`: JavaScript that fills
 * `model`, named by the keys.
 */
export function writeScenarios(
  folder: string,
  file: string,
  builds: Readonly<Record<string, string>>,
): string {
  const scenarios = Object.entries(builds).map(
    ([name, build]) => `{
      name: ${JSON.stringify(name)},
      about: "made by a test",
      setUp(strategy) {
        const model = new Model(strategy);
        ${build}
        return model;
      },
    }`,
  );
  const path = join(folder, file);
  const text = `import { Model } from ${JSON.stringify(DOOR)};
    const steps = (model, name, ...acts) => model.task(name, function* () {
      for (const act of acts) yield* model.step("acts", act);
    });
    export const scenarios = [${scenarios.join(", ")}];`;
  writeFileSync(path, text);
  return path;
}
