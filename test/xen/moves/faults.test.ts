// What befalls a move between two hosts of Xen: the link, the block script, our processes, the domain.
import { setTimeout as sleep } from 'node:timers/promises'

import t from 'tap'

import { missingNeed } from '../../../testbed/support/needs.js'
import { domains, kMoments, Shuttle, until } from './shuttle.js'

const kBlockScript = '/etc/xen/scripts/block'
const kCutMs = 12_000

t.test('a move', { skip: (await missingNeed()) ?? false }, async (t) => {
  const shuttle = await Shuttle.begin(t)

  await t.test('the link is cut for a while', async (t) => {
    const move = await shuttle.start({ bandwidth: '1MB/s' })
    await until(move, (said) => 'progress' in said)
    await shuttle.setLink('down')
    await sleep(kCutMs)
    await shuttle.setLink('up')
    t.equal((await move.source.ended).code, 0, 'it goes on', { output: move.source.output() })
    t.match(move.source.output(), /"reconnecting"/)
    await shuttle.settles(t, move)
  })

  await t.test('the block script fails at the destination', async (t) => {
    const { there } = shuttle
    await there.must(`cp -p ${kBlockScript} /run/block; printf '#!/bin/sh\\nexit 1\\n' > ${kBlockScript}`)
    await shuttle.stays(t, await shuttle.start())
    await there.must(`cp -p /run/block ${kBlockScript}`)
  })

  for (const [moment, isSo] of Object.entries(kMoments)) {
    await t.test(`both sides are killed ${moment}`, async (t) => {
      const move = await shuttle.start()
      await until(move, isSo)
      await shuttle.recover(t, move)
    })
  }

  await t.test('no acknowledged write is lost', (t) => shuttle.losesNoWrite(t))

  await t.test('the domain dies', async (t) => {
    const move = await shuttle.start()
    await until(move, (said) => 'memory' in said)
    await shuttle.here.must('xl destroy web')
    t.equal((await move.source.ended).code, 1)
    t.match(move.source.output(), /"failed":"MACHINE","owner":"source"/)
    move.destination.kill()
    t.same([await domains(shuttle.here), await domains(shuttle.there)], [[], []])
  })
})
