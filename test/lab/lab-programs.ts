// Tests that run in the lab: compiled programs and tests of this repository, several in one boot.
import type { Test } from 'tap'

import type { Suite } from '../../testbed/support/packages.js'
import { kIsFull } from '../support/full.js'
import { inLab } from '../../testbed/lab/lab.js'

const kFolder = new URL('..', import.meta.url).pathname

/** Each has to pass, and to leave nothing out. Names are those of compiled files below test/. */
export async function passInLab (t: Test, programs: readonly string[], suite: Suite = 'bookworm'): Promise<void> {
  const runs = programs.map((name) =>
    `'${process.execPath}' '${kFolder}${name}.js' && echo 'passed: ${name}'`)
  const modules = 'modprobe -a loop zram dm_mod nbd'
  const { output } = await inLab(`${modules}; export TAP=1 TAP_TIMEOUT=780 BLOCKFERRY_FULL=${kIsFull ? 1 : 0}; ${runs.join('; ')}`, suite)
  for (const name of programs) t.match(output, `passed: ${name}\n`, name)
  t.match(output, /^ok \d+ - /m, 'something was tested')
  t.notMatch(output, /# SKIP/, 'nothing was left out')
  t.comment(output)
}
