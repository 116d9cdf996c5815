import t from 'tap'

// A script of the repository, which is not compiled.
const { Results } = await import(new URL('../../../scripts/results.mjs', import.meta.url).href)

t.test('the ten slowest are told of, the slowest first, and the count is alone on the last line', async (t) => {
  const results = new Results()
  for (const seconds of [3, 12, 5, 1, 7, 2, 11, 4, 6, 10, 8, 9]) results.took(`file-${seconds}`, seconds)
  results.pass()
  results.skip('a check', 'a reason')
  const lines: string[] = []
  const log = t.capture(console, 'log', (line: string) => lines.push(line))
  const wasCi = process.env.CI
  delete process.env.CI
  const exit = results.report()
  if (wasCi !== undefined) process.env.CI = wasCi
  log.restore()
  const slowest = lines.filter((line) => line.startsWith('slow: '))
  t.same(slowest, [12, 11, 10, 9, 8, 7, 6, 5, 4, 3].map((n) => `slow: ${n}.0 s file-${n}`))
  t.equal(lines.at(-1), '1 passed, 0 failed, 1 skipped')
  t.equal(lines.filter((line) => / passed, /.test(line)).length, 1)
  t.equal(exit, 0)
})
