// The protocol of ownership, checked in all its states by spin: never two owners, one in the end, and
// what is committed is what was compared. What breaks the protocol on purpose must be found, or
// the check proves nothing.
import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import t from 'tap'
import type { Test } from 'tap'

import { temporary } from '../../testbed/support/images.js'

const kModel = fileURLToPath(new URL('../../../test/model/ownership.pml', import.meta.url))
const kNoSpin = spawnSync('spin', ['-V']).status === 0 ? false : 'spin is not installed'

/** The number of errors that spin finds. */
function errorsIn (t: Test, model: string, property: 'never_two' | 'one_in_the_end' | 'never_overwritten'): number {
  const dir = temporary(t)
  writeFileSync(join(dir, 'model.pml'), model)
  execFileSync('spin', ['-a', 'model.pml'], { cwd: dir, stdio: 'pipe' })
  execFileSync('cc', ['-O2', '-DNFAIR=3', '-o', 'pan', 'pan.c'], { cwd: dir, stdio: 'pipe' })
  const said = execFileSync('./pan', ['-a', '-f', '-N', property], { cwd: dir, encoding: 'utf8' })
  const [, depth, errors] = /depth reached (\d+), errors: (\d+)/.exec(said)!
  if (/max search depth too small/.test(said)) throw new Error(`not all of it was searched: ${depth}`)
  return Number(errors)
}

function broken (model: string, from: string, to: string): string {
  const changed = model.replace(from, to)
  if (changed === model) throw new Error(`the model has no ${from}`)
  return changed
}

t.test('the protocol', { skip: kNoSpin }, async (t) => {
  const model = readFileSync(kModel, 'utf8')
  t.equal(errorsIn(t, model, 'never_two'), 0, 'never two owners')
  // Frames change nothing about that, but make many more states.
  const still = broken(model, 'FRAMES 1', 'FRAMES 0')
  t.equal(errorsIn(t, still, 'one_in_the_end'), 0, 'one owner in the end')
  t.equal(errorsIn(t, model, 'never_overwritten'), 0, 'what was compared is what is committed')
})

t.test('a protocol that is broken is found out', { skip: kNoSpin }, async (t) => {
  const model = readFileSync(kModel, 'utf8')
  const asking = broken(
    model, 'destination == receiving -> destination = refused   /* asking ends it */',
    'destination == receiving -> skip')
  t.not(errorsIn(t, asking, 'never_two'), 0, 'asking that does not end an undecided migration')
  const undurable = broken(model, 'source == committing -> goto wait', 'source == committing -> source = kept; source_writes = true; goto end')
  t.not(errorsIn(t, undurable, 'never_two'), 0, 'a source that forgets in a crash that it told to commit')
  const early = broken(
    model, 'destination == committed -> destination_writes = true', 'destination == committed -> destination = refused')
  t.not(errorsIn(t, early, 'one_in_the_end'), 0, 'a commit that is not durable')
  const mute = broken(model, 'empty(to_source) -> tell(questions, query)', 'false -> skip')
  t.not(errorsIn(t, mute, 'one_in_the_end'), 0, 'a source that does not ask')
})

t.test('frames behind the commit are found out', { skip: kNoSpin }, async (t) => {
  const model = readFileSync(kModel, 'utf8')
  const open = broken(model, 'sealed = true;\n        !applying -> ', '')
  t.not(errorsIn(t, open, 'never_overwritten'), 0, 'a session without a seal')
  const hasty = broken(model, '!applying -> ', '')
  t.not(errorsIn(t, hasty, 'never_overwritten'), 0, 'a seal that does not wait for what is being applied')
})

t.test('a name that anybody may offer is found out', { skip: kNoSpin }, async (t) => {
  const model = broken(readFileSync(kModel, 'utf8'), 'MAY_CLAIM false', 'MAY_CLAIM true')
  t.not(errorsIn(t, model, 'one_in_the_end'), 0, 'what another peer has committed')
  const newest = broken(
    model, ':: destination == committed -> tell(to_source, yes)',
    ':: destination == committed && forged != receiving -> tell(to_source, yes)')
  t.not(errorsIn(t, newest, 'never_two'), 0, 'what goes on under the name counts more than what is settled')
})
