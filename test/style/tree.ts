/**
 * The files that the style checks look at. A path is relative to the repository's root and
 * written with slashes.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const REPO_ROOT = fileURLToPath(new URL("../..", import.meta.url));

export interface SourceFile {
  readonly path: string;
  readonly text: string;
}

/** What is generated, installed or recorded, not written. */
const NOT_OURS = new Set(["node_modules", "dist", "out", "coverage", ".git", ".cache"]);
const TEST_DATA = "test/conformance/traces";

/** Every path below `folder`, sorted, without what is not ours. */
export function listFiles(folder: string): string[] {
  const paths: string[] = [];
  for (const entry of readdirSync(join(REPO_ROOT, folder), { withFileTypes: true })) {
    const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
    if (NOT_OURS.has(entry.name) || path === TEST_DATA) continue;
    if (entry.isDirectory()) paths.push(...listFiles(path));
    else if (entry.isFile()) paths.push(path);
  }
  return paths.sort();
}

/** The TypeScript below `src`, without its tests. */
export function readSources(): SourceFile[] {
  const paths = listFiles("src").filter((path) => /(?<![.]test)[.]ts$/.test(path));
  return paths.map((path) => ({ path, text: readText(path) ?? "" }));
}

/** A file's text, or undefined for a file that is not text. */
export function readText(path: string): string | undefined {
  const bytes = readFileSync(join(REPO_ROOT, path));
  return bytes.includes(0) ? undefined : bytes.toString("utf8");
}
