import { describe, expect, it } from "vitest";
import { EINVAL, ENOMEM, ENOSYS, EPERM } from "../../base/index.ts";
import { lackOfFeatures, refusal } from "./userfaultfd.ts";

const ALL = 2 ** 20 - 1;
const without = (...bits: number[]): number => bits.reduce((left, bit) => left & ~(1 << bit), ALL);

describe("a kernel without what we need", () => {
  it("is told what it lacks and which release has all of it", () => {
    const old = lackOfFeatures(without(12, 13), EINVAL);
    expect(old.reason).toBe(
      "this kernel's userfaultfd lacks " +
        "UFFD_FEATURE_WP_HUGETLBFS_SHMEM, UFFD_FEATURE_WP_UNPOPULATED",
    );
    expect(old.cure).toBe("run on Linux 6.4 or later");
    expect(lackOfFeatures(without(10), EINVAL).cure).toBe("run on Linux 5.14 or later");
    expect(old.message).toBe(`${old.reason}; ${old.cure}`);
  });

  it("that lacks nothing has failed otherwise", () => {
    expect(lackOfFeatures(ALL, ENOMEM).reason).toBe("UFFDIO_API answers ENOMEM");
  });
});

describe("a refused userfaultfd", () => {
  it.each([
    [EPERM, false, /seccomp profile .* forbids it/, /--security-opt seccomp=PROFILE/],
    [EPERM, true, /needs privilege/, /sysctl vm.unprivileged_userfaultfd=1.*CAP_SYS_PTRACE/],
    [ENOSYS, false, /this kernel has none/, /CONFIG_USERFAULTFD=y/],
    [EINVAL, false, /UFFD_USER_MODE_ONLY \(5.11\)/, /Linux 6.4 or later/],
    [24, false, /too many open files/, /ulimit -n/],
    [ENOMEM, true, /answers ENOMEM/, /limits/],
  ])("with errno %i (kernel faults: %s) says why and what helps", (errno, all, reason, cure) => {
    const refused = refusal(errno, all);
    expect(refused.reason).toMatch(reason);
    expect(refused.cure).toMatch(cure);
    // Both stand in one line of a report.
    expect([refused.reason, refused.cure].join("")).not.toMatch(/\n|\.$/);
  });
});
