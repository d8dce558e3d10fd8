/**
 * The software device: the SwiftShader library that comes inside an npm package made for
 * headless Chromium. Its archive is unpacked once into the temporary folder, and reused.
 */
import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { tmpdir, userInfo } from "node:os";
import { dirname, join } from "node:path";
import { brotliDecompressSync } from "node:zlib";

export const SOFTWARE_PACKAGE = "@sparticuz/chromium";

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

const isComplete = (folder: string): boolean =>
  [ICD, LOADER, DRIVER].every((name) => existsSync(join(folder, name)));

/** Into a folder of its own first, then renamed: two processes may do it at once. */
function unpack(packed: Buffer, folder: string): void {
  const files = readTar(brotliDecompressSync(packed));
  const fresh = `${folder}.${process.pid}`;
  rmSync(fresh, { recursive: true, force: true });
  mkdirSync(fresh, { recursive: true, mode: 0o700 });
  for (const name of [ICD, LOADER, DRIVER]) {
    const bytes = files.get(name);
    if (bytes === undefined) throw new Error(`swiftshader.tar.br holds no ${name}`);
    writeFileSync(join(fresh, name), bytes);
    if (name.includes(".so")) chmodSync(join(fresh, name), 0o700);
  }
  try {
    renameSync(fresh, folder);
  } catch (error) {
    rmSync(fresh, { recursive: true, force: true });
    if (!isComplete(folder)) throw error;
  }
}

/** The plain files of a tar archive: 512-byte headers, content padded to 512. */
function readTar(tar: Buffer): Map<string, Buffer> {
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
  tar.toString("latin1", at, at + length).split("\0")[0]!.trim();
