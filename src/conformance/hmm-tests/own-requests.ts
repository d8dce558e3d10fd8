/**
 * Our test of what a caller of `hmmRangeFault` may request: every combination of default flags,
 * mask and a page's own flags on every kind of page, by the bare call and by a mirror's range.
 */
import { EBUSY, EFAULT, EPERM, type Result } from "../../base/index.ts";
import {
  HMM_PFN_ERROR,
  HMM_PFN_REQ_FAULT,
  HMM_PFN_REQ_WRITE,
  HMM_PFN_VALID,
  HMM_PFN_WRITE,
  type HmmRange,
  hmmRangeFault,
  Mirror,
  MirrorRange,
} from "../../hmm/index.ts";
import { VM_READ } from "../../mm/index.ts";
import { IntervalNotifier } from "../../notifier/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import { expectSame, fail } from "./expect.ts";
import type { Buffer, Process } from "./process.ts";
import type { DeviceKind, HmmTest, Stage } from "./stage.ts";
import { counted, WordBuffer, zeros } from "./words.ts";

export const REQUEST_TEST: HmmTest = {
  name: "onespace.A-34",
  checks: "the truth table of requests: default flags, mask and a page's own, on every page",
  run: (open) => checkAll(open({ devices: 2 })),
};

const FLAGS = HMM_PFN_VALID | HMM_PFN_WRITE | HMM_PFN_ERROR;
const RW_FLAGS = HMM_PFN_VALID | HMM_PFN_WRITE;
const REQUESTS = [0, HMM_PFN_REQ_FAULT, HMM_PFN_REQ_WRITE, RW_FLAGS];

interface PageKind {
  readonly name: string;
  /** Makes one page of this kind out of a fresh readable and writable one. */
  make(page: Buffer): void;
  /** Flags of the answer, or why not: when nothing, a read, a write is requested. */
  readonly answers: readonly [number, number, number];
  /** What a mirror's range answers whatever is requested, where Linux 5.2 was stricter. */
  readonly classic?: number;
}

const RO = HMM_PFN_VALID;
const PAGE_KINDS: readonly PageKind[] = [
  {
    name: "a hole",
    make: (page) => page.unmap(),
    answers: [HMM_PFN_ERROR, -EFAULT, -EFAULT],
    classic: -EFAULT,
  },
  {
    name: "no access",
    make: (page) => page.protect(0),
    answers: [HMM_PFN_ERROR, -EFAULT, -EFAULT],
    classic: -EPERM,
  },
  { name: "untouched", make: () => {}, answers: [0, RO, RW_FLAGS] },
  {
    name: "untouched, read-only",
    make: (page) => page.protect(VM_READ),
    answers: [0, RO, -EPERM],
  },
  {
    name: "the zero page",
    make: (page) => page.expect("zeros", zeros),
    answers: [RO, RO, RW_FLAGS],
  },
  {
    name: "written",
    make: (page) => page.store(counted),
    answers: [RW_FLAGS, RW_FLAGS, RW_FLAGS],
  },
  { name: "written, then read-only", make: writeAndProtect, answers: [RO, RO, -EPERM] },
  {
    name: "exclusive",
    make(page) {
      page.store(counted);
      page.exclusive(new WordBuffer(1));
    },
    answers: [0, RW_FLAGS, RW_FLAGS],
  },
  {
    name: "on the device that asks",
    make: (page) => moveTo(page, 0),
    answers: [RW_FLAGS, RW_FLAGS, RW_FLAGS],
  },
];

/** What a page of another device is to the one that asks. */
const ELSEWHERE: Readonly<Record<DeviceKind, PageKind>> = {
  private: {
    name: "on another device",
    make: (page) => moveTo(page, 1),
    answers: [0, RW_FLAGS, RW_FLAGS],
  },
  coherent: {
    name: "on another device",
    make: (page) => moveTo(page, 1),
    answers: [RW_FLAGS, RW_FLAGS, RW_FLAGS],
  },
};

function writeAndProtect(page: Buffer): void {
  page.store(counted);
  page.protect(VM_READ);
}

function moveTo(page: Buffer, device: number): void {
  page.store(counted);
  page.moveToDevice(counted, device);
}

/** One way to ask. */
interface Request {
  readonly defaults: number;
  readonly mask: number;
  readonly own: number;
}

function checkAll({ main, kind, devices }: Stage): void {
  const owner = devices[0]!;
  const ops = {
    *syncCpuDevicePagetables() {
      return true;
    },
  };
  const mirror = main.run(Mirror.register(main.space, { ops, devPrivateOwner: owner }));
  if (!(mirror instanceof Mirror)) fail(`register: ${mirror}`);
  for (const pageKind of [...PAGE_KINDS, ELSEWHERE[kind]]) {
    for (const request of allRequests()) {
      for (const write of [undefined, false, true]) {
        checkOne(main, pageKind, request, { mirror, write });
      }
      checkOne(main, pageKind, request, { owner });
    }
  }
  main.run(mirror.unregister());
}

function* allRequests(): Generator<Request> {
  for (const defaults of REQUESTS) {
    for (const mask of REQUESTS) for (const own of REQUESTS) yield { defaults, mask, own };
  }
}

/** By the bare call, for an owner; or by a mirror's range. */
type Way =
  | { readonly owner: object }
  | { readonly mirror: Mirror; readonly write: boolean | undefined };

function checkOne(main: Process, pageKind: PageKind, request: Request, way: Way): void {
  const page = main.map(1);
  pageKind.make(page);
  const got = main.run(
    "owner" in way ? askBare(page, request, way.owner) : askRange(page, request, way),
  );
  let effective = (request.own & request.mask) | request.defaults;
  if (!("owner" in way) && way.write !== undefined) effective |= HMM_PFN_REQ_FAULT;
  if (!("owner" in way) && way.write) effective |= HMM_PFN_REQ_WRITE;
  // A request to write counts together with one to fault only.
  const column = (effective & HMM_PFN_REQ_FAULT) === 0 ? 0 : effective & HMM_PFN_REQ_WRITE ? 2 : 1;
  const classic = "owner" in way ? undefined : pageKind.classic;
  const wanted = classic ?? pageKind.answers[column]!;
  if (got !== wanted) {
    const asked = JSON.stringify({ ...request, write: "owner" in way ? "bare" : way.write });
    expectSame(`${pageKind.name}, ${asked}`, got, wanted);
  }
  page.unmap();
}

function* askBare(page: Buffer, request: Request, owner: object): Sleeps<number> {
  const { space } = page.process;
  const notifier = new IntervalNotifier({ start: page.at, end: page.end });
  space.notifiers.insert(notifier);
  const range: HmmRange = {
    start: page.at,
    end: page.end,
    notifier,
    notifierSeq: 0,
    pfns: Uint32Array.of(request.own),
    defaultFlags: request.defaults,
    pfnFlagsMask: request.mask,
    devPrivateOwner: owner,
  };
  try {
    for (;;) {
      range.pfns[0] = request.own;
      const result = yield* look(page.process, range);
      if (result !== -EBUSY) return result < 0 ? result : range.pfns[0]! & FLAGS;
    }
  } finally {
    space.notifiers.removeSilent(notifier);
  }
}

function* look({ space }: Process, range: HmmRange): Sleeps<Result> {
  range.notifierSeq = (yield* space.notifiers.readBegin(range.notifier))!;
  using _mmap = yield* space.mmapLock.acquireRead();
  return yield* hmmRangeFault(space, range);
}

function* askRange(
  page: Buffer,
  request: Request,
  way: { readonly mirror: Mirror; readonly write: boolean | undefined },
): Sleeps<number> {
  const { defaults, mask } = request;
  const options = { start: page.at, end: page.end, defaultFlags: defaults, pfnFlagsMask: mask };
  const range = way.mirror.range(options);
  if (!(range instanceof MirrorRange)) return range;
  using _registered = range;
  for (;;) {
    yield* range.waitUntilValid();
    range.requests[0] = request.own;
    const result = yield* range.fault(way.write === undefined ? {} : { write: way.write });
    if (result !== -EBUSY) return result < 0 ? result : range.pfns[0]! & FLAGS;
  }
}
