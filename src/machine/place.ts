/** The room's door under its old name. */
export { asAddress, type MemoryRange } from "./place/index.ts";
