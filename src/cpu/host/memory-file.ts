/** The file behind a window: which pages of it exist, and making and dropping them. */
import {
  assert,
  EINTR,
  ENOMEM,
  ENOSPC,
  PAGE_SIZE,
  type Result,
  type Vpn,
  vpn,
} from "../../base/index.ts";
import {
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  type Linux,
  SEEK_DATA,
  SEEK_HOLE,
} from "./linux.ts";

/** There is nothing more of what is sought: an error that the engine itself never answers. */
const ENXIO = 6;

export class MemoryFile {
  readonly #linux: Linux;
  readonly #fd: number;

  constructor(linux: Linux, fd: number) {
    this.#linux = linux;
    this.#fd = fd;
  }

  /** Makes the pages of [start, end) that the file lacks. False: the host has no memory. */
  populate(start: Vpn, end: Vpn): boolean {
    const result = this.#fallocate(0, start, end);
    if (result === -ENOMEM || result === -ENOSPC) return false;
    assert(result === 0, () => `fallocate answers ${-result}`);
    return true;
  }

  /** Gives the memory of pages back to the host: they read as zero afterwards. */
  discard(start: Vpn, end: Vpn): void {
    const mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    const result = this.#fallocate(mode, start, end);
    assert(result === 0, () => `fallocate(FALLOC_FL_PUNCH_HOLE) answers ${-result}`);
  }

  /** The first page at or after `page`, below `end`, that exists; else `end`. */
  nextFilled(page: Vpn, end: Vpn): Vpn {
    return this.#seek(page, end, SEEK_DATA);
  }

  /** The first that does not. */
  nextHole(page: Vpn, end: Vpn): Vpn {
    return this.#seek(page, end, SEEK_HOLE);
  }

  #seek(page: Vpn, end: Vpn, whence: number): Vpn {
    const found = this.#linux.lseek(this.#fd, page * PAGE_SIZE, whence);
    if (found >= 0) return vpn(Math.min(end, Math.floor(found / PAGE_SIZE)));
    const errno = this.#linux.errno();
    assert(errno === ENXIO, () => `lseek answers ${errno}`);
    return end;
  }

  #fallocate(mode: number, start: Vpn, end: Vpn): Result {
    const [offset, bytes] = [start * PAGE_SIZE, (end - start) * PAGE_SIZE];
    while (this.#linux.fallocate(this.#fd, mode, offset, bytes) < 0) {
      const errno = this.#linux.errno();
      if (errno !== EINTR) return -errno;
    }
    return 0;
  }
}
