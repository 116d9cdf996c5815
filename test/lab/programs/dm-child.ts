// In the lab: a process with a tap on a device, to be killed. Its steps are its arguments.
import { setTimeout as sleep } from 'node:timers/promises'

import { openTap } from '../../../lib/index.js'

const [device, ...steps] = process.argv.slice(2) as [string, ...string[]]
const say = (line: string) => process.stdout.write(`${line}\n`)
const codeOf = (error: { code?: string }) => error.code ?? String(error)

const { CGROUP } = process.env
const tap = await openTap({ source: device, tap: 'dm', ...(CGROUP !== undefined && { cgroup: CGROUP }) })
for (const step of steps) {
  if (step === 'checkpoint') {
    tap.track()
    await sleep(400)
  }
  if (step === 'delay') await tap.native.delayWrites(300)
  if (step === 'hold') await tap.quiesce().then(() => say('held'), (error) => say(codeOf(error)))
  if (step === 'let-go') {
    tap.native.hold()
    const settled = tap.native.drain(30_000)
    tap.native.open()
    await settled.catch((error) => say(codeOf(error)))
  }
  if (step === 'may-lose') await tap.native.mayLoseDisk()
  if (step === 'release') tap.release()
  if (step === 'refuse') tap.refuse()
  if (step === 'close') await tap.close()
  if (step === 'wait') await new Promise((resolve) => process.stdin.once('data', resolve))
  say(step)
}
process.exit(0)
