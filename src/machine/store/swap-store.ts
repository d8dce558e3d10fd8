/** A real file that pages go to when RAM is full. */
import { closeSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { PAGE_SIZE, type Result } from "../../base/index.ts";
import type { SwapStore } from "../../mm/index.ts";
import { attempt } from "./host-file.ts";

export class HostSwapStore implements SwapStore {
  readonly #descriptor: number;

  /** Makes the file at `path`, which must not exist, and takes its name away at once. */
  constructor(path: string) {
    this.#descriptor = openSync(path, "wx+", 0o600);
    rmSync(path);
  }

  write(slot: number, page: Uint8Array): Result {
    return attempt(() => {
      for (let done = 0; done < PAGE_SIZE; ) {
        const position = slot * PAGE_SIZE + done;
        done += writeSync(this.#descriptor, page, done, PAGE_SIZE - done, position);
      }
    });
  }

  read(slot: number, page: Uint8Array): Result {
    return attempt(() => {
      const got = readSync(this.#descriptor, page, 0, PAGE_SIZE, slot * PAGE_SIZE);
      if (got !== PAGE_SIZE) throw new Error(`swap slot ${slot} has ${got} bytes`);
    });
  }

  close(): void {
    closeSync(this.#descriptor);
  }
}
