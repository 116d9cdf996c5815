// The count of passed, failed and skipped checks of a test run, what took the longest, and the
// verdict.

const mostShown = 10

export class Results {
  passed = 0
  failures = []
  skips = []
  times = []

  pass () {
    this.passed += 1
  }

  fail (name) {
    this.failures.push(name)
  }

  skip (name, reason) {
    this.skips.push({ name, reason })
  }

  /** How long a file, program or fuzzer took. */
  took (name, seconds) {
    this.times.push({ name, seconds })
  }

  /** Prints the slowest, what failed and what was skipped, last the count; answers the exit code. */
  report () {
    const slowest = this.times.toSorted((a, b) => b.seconds - a.seconds).slice(0, mostShown)
    for (const { name, seconds } of slowest) console.log(`slow: ${seconds.toFixed(1)} s ${name}`)
    for (const name of this.failures) console.log(`failed: ${name}`)
    for (const { name, reason } of this.skips) {
      console.log(`skipped: ${name}: ${reason || 'NO REASON GIVEN'}`)
    }
    const complaint = this.complaint()
    if (complaint) console.log(complaint)
    const [failed, skipped] = [this.failures.length, this.skips.length]
    console.log(`${this.passed} passed, ${failed} failed, ${skipped} skipped`)
    return complaint === undefined ? 0 : 1
  }

  // The CI machine can run everything: there a skip is a hole in the tests.
  complaint () {
    if (this.failures.length > 0) return 'there are failures'
    if (this.passed === 0) return 'no test ran'
    if (this.skips.some(({ reason }) => !reason)) return 'a skip needs a reason'
    const isCi = process.env.CI === 'true'
    if (isCi && this.skips.length > 0) return 'with CI=true a skip is a failure'
    return undefined
  }
}

/** Whether a path holds one of the patterns; true without any. */
export function matches (path, patterns) {
  return patterns.length === 0 || patterns.some((pattern) => path.includes(pattern))
}
