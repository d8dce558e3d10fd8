/**
 * The software device: the SwiftShader library that comes inside an npm package made for
 * headless Chromium. Its archive is unpacked once into the temporary folder, and used again by
 * later starts as long as it is whole and nobody else can write to it.
 */
import { createHash } from "node:crypto";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { tmpdir, userInfo } from "node:os";
import { dirname, join } from "node:path";
import { threadId } from "node:worker_threads";
import { brotliDecompressSync } from "node:zlib";

const SOFTWARE_PACKAGE = "@sparticuz/chromium";

export interface SoftwareVulkan {
  /** The driver's manifest: what VK_ICD_FILENAMES names. */
  readonly icd: string;
  /** A Vulkan loader, for machines that have none. */
  readonly loader: string;
  readonly package: string;
}

const ICD = "vk_swiftshader_icd.json";
const LOADER = "libvulkan.so.1";
const DRIVER = "libvk_swiftshader.so";
const FILES = [ICD, LOADER, DRIVER] as const;
/** How long each file has to be. */
const SIZES = "sizes.json";

/** Unpacks the library if need be. Throws an error that says what is missing and what helps. */
export function findSoftwareVulkan(): SoftwareVulkan {
  const { archive, version } = findArchive();
  const packed = readFileSync(archive);
  const hash = createHash("sha256").update(packed).digest("hex").slice(0, 16);
  const folder = join(tmpdir(), `onespace-${userInfo().uid}-swiftshader-${hash}`);
  if (!isComplete(folder)) unpack(packed, folder);
  return {
    icd: join(folder, ICD),
    loader: join(folder, LOADER),
    package: `${SOFTWARE_PACKAGE} ${version}`,
  };
}

function findArchive(): { readonly archive: string; readonly version: string } {
  if (process.platform !== "linux" || process.arch !== "x64") {
    throw new Error(`there is none for ${process.platform} on ${process.arch}`);
  }
  const require = createRequire(import.meta.url);
  let entry: string;
  try {
    entry = require.resolve(SOFTWARE_PACKAGE);
  } catch {
    throw new Error(`the package ${SOFTWARE_PACKAGE} is not installed (npm i ${SOFTWARE_PACKAGE})`);
  }
  for (let folder = dirname(entry); folder !== dirname(folder); folder = dirname(folder)) {
    const archive = join(folder, "bin", "swiftshader.tar.br");
    if (!existsSync(archive)) continue;
    const { version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    return { archive, version: String(version) };
  }
  throw new Error(`the package ${SOFTWARE_PACKAGE} holds no swiftshader.tar.br`);
}

/**
 * Whether all files are there and whole. What is loaded from here runs in this process, so a
 * folder that somebody else owns or may write to is refused.
 *
 * @forTests
 */
export function isComplete(folder: string): boolean {
  const { uid } = userInfo();
  let sizes: Record<string, unknown>;
  try {
    const { mode, uid: owner } = lstatSync(folder);
    if (owner !== uid || (mode & 0o22) !== 0) {
      throw new Error(`${folder} belongs to somebody else or can be written by them: remove it`);
    }
    sizes = JSON.parse(readFileSync(join(folder, SIZES), "utf8"));
    return FILES.every((name) => statSync(join(folder, name)).size === sizes[name]);
  } catch (error) {
    if (error instanceof SyntaxError || (error as { code?: string }).code === "ENOENT")
      return false;
    throw error;
  }
}

/**
 * Two processes may do it at once: each file is put in place whole, by a rename, and the list of
 * their sizes comes last.
 *
 * @forTests
 */
export function unpack(packed: Buffer, folder: string): void {
  const files = readTar(brotliDecompressSync(packed));
  const sizes: Record<string, number> = {};
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  for (const name of FILES) {
    const bytes = files.get(name);
    if (bytes === undefined) throw new Error(`swiftshader.tar.br holds no ${name}`);
    putInPlace(join(folder, name), bytes);
    sizes[name] = bytes.length;
  }
  putInPlace(join(folder, SIZES), JSON.stringify(sizes));
}

function putInPlace(path: string, content: Buffer | string): void {
  const fresh = `${path}.${process.pid}.${threadId}`;
  writeFileSync(fresh, content, { mode: 0o700 });
  renameSync(fresh, path);
}

/** The plain files of a tar archive: 512-byte headers, content padded to 512. @forTests */
export function readTar(tar: Buffer): Map<string, Buffer> {
  const files = new Map<string, Buffer>();
  for (let at = 0; at + 512 <= tar.length; ) {
    const name = text(tar, at, 100);
    if (name === "") break;
    const bytes = Number.parseInt(text(tar, at + 124, 12), 8);
    const kind = tar[at + 156];
    const isFile = kind === 0 || kind === 0x30;
    if (isFile) files.set(name.replace(/^\.\//, ""), tar.subarray(at + 512, at + 512 + bytes));
    at += 512 + Math.ceil(bytes / 512) * 512;
  }
  return files;
}

const text = (tar: Buffer, at: number, length: number): string =>
  tar
    .toString("latin1", at, at + length)
    .split("\0")[0]!
    .trim();
