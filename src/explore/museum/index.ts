import type { Exhibit } from "./exhibit.ts";
import { VALID_FLAG } from "./valid-flag.ts";

export { type Exhibit, scenarioOf, type Version } from "./exhibit.ts";
export { Model } from "./model.ts";
export { type Visit, visit } from "./visit.ts";

export const MUSEUM: readonly Exhibit[] = [...VALID_FLAG];
