/** A real file as the backing of a page cache. */
import { closeSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from "node:fs";
import { basename } from "node:path";
import { EIO, ENOSPC, PAGE_SIZE, type Result } from "../../base/index.ts";
import { CachedFile, type FileBacking, type Memory } from "../../mm/index.ts";

export interface HostFileOptions {
  /** It may be written. Default false: give `isReadOnlyFile` to a shared `mmap`. */
  readonly write?: boolean;
}

export class HostFile implements FileBacking {
  readonly #descriptor: number;

  /** Throws the host's error (ENOENT, EACCES, …), or EISDIR's like for what is no plain file. */
  constructor(path: string, options: HostFileOptions = {}) {
    this.#descriptor = openSync(path, options.write === true ? "r+" : "r");
    if (fstatSync(this.#descriptor).isFile()) return;
    closeSync(this.#descriptor);
    throw new TypeError(`${path} is not a plain file: only those can be mapped`);
  }

  get bytes(): number {
    return fstatSync(this.#descriptor).size;
  }

  readPage(index: number, page: Uint8Array): Result {
    return attempt(() => {
      let done = 0;
      while (done < page.length) {
        const position = index * PAGE_SIZE + done;
        const got = readSync(this.#descriptor, page, done, page.length - done, position);
        if (got === 0) break;
        done += got;
      }
      page.fill(0, done);
    });
  }

  writePage(index: number, page: Uint8Array): Result {
    return attempt(() => {
      for (let done = 0; done < page.length; ) {
        const position = index * PAGE_SIZE + done;
        done += writeSync(this.#descriptor, page, done, page.length - done, position);
      }
    });
  }

  resize(bytes: number): Result {
    return attempt(() => ftruncateSync(this.#descriptor, bytes));
  }

  close(): void {
    closeSync(this.#descriptor);
  }
}

/** Opens `path` for mapping; `put` it when done. Throws what the host says. */
export function openHostFile(
  memory: Memory,
  path: string,
  options: HostFileOptions = {},
): CachedFile {
  const backing = new HostFile(path, options);
  return new CachedFile(memory, { name: basename(path), bytes: backing.bytes, backing });
}

/** 0, or what the host's error is in our words. */
export function attempt(act: () => void): Result {
  try {
    act();
    return 0;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOSPC" ? -ENOSPC : -EIO;
  }
}
