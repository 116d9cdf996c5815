// Offers that come at the wrong time: under the name of a migration that has been committed, while
// another one has the machine, and on a connection that breaks while things are set up for it.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import type { Test } from 'tap'
import t from 'tap'

import type { ReceiveOptions } from '../../lib/index.js'
import { migrate, openTap, receive } from '../../lib/index.js'
import { InMemoryMachine } from '../../lib/machine/in-memory.js'
import { askOutcome } from '../../lib/source/ask-outcome.js'
import { makeImage, temporary } from '../../testbed/support/images.js'
import { rawSource } from '../support/raw-peers.js'

const kSize = 1 << 20

function offerOf (migration: string, name: string, machine: object | null = null) {
  const disks = [{ name, size: kSize, blockSize: 4096, epoch: 0, places: [] }]
  return { type: 'offer', migration, streams: 1, equality: true, reuse: true, machine, disks }
}

async function start (t: Test, options: Partial<ReceiveOptions> = {}) {
  const path = (name: string) => join(dir, name)
  const dir = temporary(t)
  const receiver = await receive({
    disks: [{ destination: path('a'), name: 'a' }, { destination: path('b'), name: 'b' }], ...options
  })
  t.teardown(async () => {
    await receiver.close()
    for (const tap of receiver.taps.values()) await tap.close()
  })
  return { receiver, path }
}

t.test('what was committed stays so, whoever uses its name again', async (t) => {
  const { receiver, path } = await start(t)
  const report = await migrate({
    disks: [{ source: makeImage(path('source'), kSize), name: 'a' }], destination: receiver.address
  })
  const { migration } = report
  for (const name of ['a', 'b', 'nobody']) {
    const { say, hears } = await rawSource(t, receiver.address)
    say(offerOf(migration, name))
    t.match(await hears('failed'), { code: 'REFUSED' }, name)
  }
  const { committed } = await askOutcome({
    ...receiver.address, tls: 'anybody', migration, linkTimeoutMs: 5000, patienceMs: 5000
  })
  t.equal(committed, true)
  t.equal(receiver.taps.get('a')?.state, 'open')
})

t.test('who asks for a committed migration while others offer it hears that it was', async (t) => {
  const { receiver, path } = await start(t)
  const { migration } = await migrate({
    disks: [{ source: makeImage(path('source'), kSize), name: 'a' }], destination: receiver.address
  })
  let isOver = false
  const offering = [1, 2, 3].map(async () => {
    while (!isOver) {
      const { sender, say, hears } = await rawSource(t, receiver.address)
      say(offerOf(migration, 'a'))
      await hears('failed')
      await sender.close()
    }
  })
  const answers = []
  for (let asked = 0; asked < 50; asked++) {
    const { committed } = await askOutcome({
      ...receiver.address, tls: 'anybody', migration, linkTimeoutMs: 5000, patienceMs: 5000
    })
    answers.push(committed)
  }
  isOver = true
  await Promise.all(offering)
  t.same(answers, answers.map(() => true))
})

t.test('two questions on one connection', async (t) => {
  const { receiver } = await start(t)
  const { say, hears } = await rawSource(t, receiver.address)
  const first = await rawSource(t, receiver.address)
  first.say(offerOf('one', 'a'))
  await first.hears('accept')
  say({ type: 'query', migration: 'one' })
  say({ type: 'query', migration: 'one' })
  t.match(await hears('failed'), { code: 'PROTOCOL' })
})

t.test('one machine at a time', async (t) => {
  const machine = new InMemoryMachine(kSize, { running: false })
  const { receiver } = await start(t, { machine })
  const description = await new InMemoryMachine(kSize).prepare()
  const first = await rawSource(t, receiver.address)
  first.say(offerOf('first', 'a', description))
  await first.hears('accept')
  let closed = 0
  const { close } = machine
  machine.close = async () => {
    closed++
    await close.call(machine)
  }
  const second = await rawSource(t, receiver.address)
  second.say(offerOf('second', 'b', description))
  t.match(await second.hears('failed'), { code: 'BUSY' })
  t.equal(closed, 0, 'the first one keeps it')
})

t.test('a connection that breaks while things are set up for it', async (t) => {
  const calls: string[] = []
  let prepared = () => {}
  const preparing = new Promise<void>((resolve) => { prepared = resolve })
  let goOn = () => {}
  const held = new Promise<void>((resolve) => { goOn = resolve })
  const network = {
    prepare: async () => {
      calls.push('prepare')
      prepared()
      await held
    },
    switchOver: async () => { calls.push('switchOver') },
    undo: async () => { calls.push('undo') }
  }
  const { receiver, path } = await start(t, { network })
  const failed = new Promise<void>((resolve) => receiver.on('failed', () => resolve()))
  const { sender, say } = await rawSource(t, receiver.address)
  say(offerOf('one', 'a'))
  await preparing
  say({ type: 'failed', code: 'CANCELLED', message: 'gone' })
  await sender.close()
  await sleep(100) // the receiver hears it
  goOn()
  await failed
  t.same(calls, ['prepare', 'undo'])
  t.notOk(existsSync(path('a')), 'a file that was made for it is gone')
  await using source = await openTap({ source: { memory: '1MiB' }, name: 'a' })
  const report = await migrate({ disks: [{ source }], destination: receiver.address })
  t.equal(report.equal, true)
})

t.test('a receive that can not begin leaves nothing behind', async (t) => {
  const dir = temporary(t)
  const program = `
    import { receive } from ${JSON.stringify(new URL('../../lib/index.js', import.meta.url).href)}
    const [target, journal] = process.argv.slice(1)
    await receive({ disks: [{ destination: target }], journal }).catch(({ code }) => console.log(code))`
  const args = ['--input-type=module', '-e', program, join(dir, 'a'), join(dir, 'nowhere', 'journal')]
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, NODE_OPTIONS: '' }
  })
  t.teardown(() => { child.kill('SIGKILL') })
  const ended = once(child, 'close')
  const chunks: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk))
  // A handle that is left would keep the process for ever.
  const outcome = await Promise.race([ended, sleep(20_000, 'it does not end', { ref: false })])
  t.same(outcome, [0, null])
  t.equal(Buffer.concat(chunks).toString(), 'NOT_FOUND\n')
  t.same(readdirSync(dir), [])
})
