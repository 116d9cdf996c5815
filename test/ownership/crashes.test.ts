// Either process is killed at each message of the commit. Then recover says, from either side alone
// or with a token carried from one to the other, who owns the disk: never both, never nobody for
// good; and a serve that is started again acts on it.
import t from 'tap'
import type { Test } from 'tap'

import type { Recovered } from '../../lib/index.js'
import { recover } from '../../lib/index.js'
import { message } from '../support/frame-proxy.js'
import type { Frame } from '../support/frame-proxy.js'
import { CliProcess, run } from '../cli/cli-process.js'
import { areEqual, nbdUri, qemuIo } from '../cli/disks.js'
import { startProxied } from '../cli/proxied.js'

const kFrames: Array<[string, (frame: Frame) => boolean]> = [
  ['the offer', message('offer')],
  ['the last mark', ({ type }) => type === 'mark'],
  ['the commit', message('commit')],
  ['the word of the commit', message('committed')]
]
const kVictims = ['source', 'destination', 'both'] as const

/** Kills at a frame, and answers the journals of what is dead in the end: both. */
async function crash (t: Test, fits: (frame: Frame) => boolean, victim: typeof kVictims[number]) {
  const proxied = await startProxied(
    t, (path) => ['--journal', path('b.journal')], (path) => ['--journal', path('a.journal')])
  const { path, serve, receiver, proxy, writer, send } = proxied
  const { held, release } = proxy.hold(fits)
  const sender = send()
  await held
  if (victim !== 'destination') serve.child.kill('SIGKILL')
  if (victim !== 'source') receiver.child.kill('SIGKILL')
  release()
  if (victim === 'source') await Promise.race([receiver.ended, receiver.event('failed'), receiver.event('done')])
  if (victim === 'destination') await sender.ended
  for (const process of [serve, receiver, sender]) process.child.kill('SIGKILL')
  await Promise.all([serve.ended, receiver.ended, sender.ended])
  await writer.stop()
  return { path, writer }
}

function hereOf (recovered: Recovered[]): string {
  return recovered[0]?.here ?? 'nothing'
}

for (const [name, fits] of kFrames) {
  for (const victim of kVictims) {
    t.test(`${victim} killed at ${name}`, async (t) => {
      const { path, writer } = await crash(t, fits, victim)
      const source = await recover(path('a.journal'), { patienceMs: 0 })
      const destination = await recover(path('b.journal'))
      const pair = [hereOf(source), hereOf(destination)]
      t.not(pair.join(), 'here,here', 'never two owners')
      t.not(pair[1], 'unknown', 'the destination always knows')
      const token = destination[0]?.token
      const settled = pair[0] === 'unknown'
        ? await recover(path('a.journal'), { patienceMs: 0, token: token! })
        : source
      const owners = [hereOf(settled) === 'here', hereOf(destination) === 'here']
      t.equal(owners.filter(Boolean).length, 1, `one owner: ${pair}`)
      const owner = owners[0] ? 'a' : 'b'
      t.same(writer.lost(path(`${owner}.img`)), [], 'every acknowledged write is there')
      if (owner === 'b') t.ok(areEqual(path('a.img'), path('b.img')))
      await checkServed(t, path, owners[0]!)
    })
  }
}

/** A serve that is started again takes writes if the disk is owned there, and only then. */
async function checkServed (t: Test, path: (name: string) => string, isOwner: boolean): Promise<void> {
  const serve = new CliProcess(t, [
    'serve', '--disk', `web=${path('a.img')}`, '--listen', `unix:${path('again.nbd')}`,
    '--journal', path('a.journal'), '--json'
  ])
  await serve.event('serving')
  t.equal(qemuIo(nbdUri('web', path('again.nbd')), 'write 0 4096'), isOwner)
  await serve.end()
}

t.test('the command says it, and its exit code', async (t) => {
  const { path } = await crash(t, message('committed'), 'both')
  const unknown = await run(t, 'recover', '--journal', path('a.journal'), '--no-ask')
  t.match(unknown, { code: 4, stdout: /owner unknown/ })
  const destination = await run(t, 'recover', '--journal', path('b.journal'))
  t.match(destination, { code: 0, stdout: /owned here/ })
  const [, token] = /token for the other side: (\S+)/.exec(destination.stdout)!
  const told = await run(t, 'recover', '--journal', path('a.journal'), '--token', token!)
  t.match(told, { code: 3, stdout: /owned by the other side/ })
  t.match(await run(t, 'recover', '--journal', path('a.journal'), '--token', 'bf1:nonsense'), { code: 1 })
})
