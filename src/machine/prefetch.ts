/** The room's door under its old name. */
export { prefetchRange } from "./place/index.ts";
