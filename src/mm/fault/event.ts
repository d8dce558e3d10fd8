/** The invalidation of one page, or of the 2 MiB around it. */
import { addrOf, type Vpn, vpn } from "../../base/index.ts";
import { Invalidation, MMU_NOTIFY_CLEAR } from "../../notifier/index.ts";
import { leafEnd, leafStart } from "../page-table.ts";

export const clearEvent = (page: Vpn): Invalidation =>
  new Invalidation({
    start: addrOf(page),
    end: addrOf(vpn(page + 1)),
    event: MMU_NOTIFY_CLEAR,
  });

export const clearLeafEvent = (page: Vpn): Invalidation =>
  new Invalidation({
    start: addrOf(leafStart(page)),
    end: addrOf(leafEnd(page)),
    event: MMU_NOTIFY_CLEAR,
  });
