// `copy`: a whole disk that nobody writes, over loopback TCP, from memory to memory.

import { truncateSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { barePeer } from './peers/bare.js'
import { mirrorPeer } from './peers/mirror.js'
import { nbdcopyOverTls, nbdcopyPeers } from './peers/nbdcopy.js'
import { rsyncPeer } from './peers/rsync.js'
import { blockferryCopiers, blockferryOverTls } from './support/blockferry.js'
import { areEqual } from './support/compare.js'
import type { Copier } from './support/copying.js'
import { type CaseReport, ours, printCase } from './support/figures.js'
import { printJson, ratio, reportCase } from './support/figures.js'
import { memoryFolder } from '../testbed/support/folders.js'
import { placeImage } from './support/image.js'
import { machine } from './support/machine.js'
import { privateLoopback } from './support/network.js'
import { readOptions } from './support/options.js'
import { makeKeyFile } from './support/psk.js'
import { type Contender, takeTurns } from './support/rotation.js'

const fullSize = { sizeMiB: 4096, filesMiB: 2048 }
const quickSize = { sizeMiB: 512, filesMiB: 256 }

const options = readOptions({ runs: 5, quickRuns: 1 }, [], ['tls'])
const size = options.quick ? quickSize : fullSize
const folder = memoryFolder()
const source = join(folder, 'source')
const namespace = await privateLoopback()

const keyFile = options.flags.has('tls') ? makeKeyFile(folder) : null
const rivals = keyFile ? nbdcopyOverTls(keyFile) : [...nbdcopyPeers, mirrorPeer, rsyncPeer]
const rivalNames = new Set(rivals.map(({ name }) => name))
const plain = blockferryCopiers.filter(({ name }) => name === ours)
const measured = keyFile ? [blockferryOverTls(keyFile), ...plain] : blockferryCopiers
const subject = keyFile ? `${ours}-tls` : ours

function asContender (copier: Copier): Contender {
  return { name: copier.name, run: () => copyOnce(copier) }
}

// Everybody gets the same destination: a file of the right size that is one hole.
async function copyOnce (copier: Copier) {
  const destination = join(folder, 'destination')
  writeFileSync(destination, '')
  truncateSync(destination, statSync(source).size)
  try {
    const figures = await copier.copy({ source, destination, folder, namespace })
    const began = performance.now()
    const equal = await areEqual(source, destination)
    const compareSeconds = copier.checks ? 0 : (performance.now() - began) / 1000
    return { ...figures, checkedSeconds: Number(figures['seconds']) + compareSeconds, equal }
  } finally {
    rmSync(destination, { force: true })
  }
}

// Goals: faster than the fastest rival, at least 60 % of the bare loop, 128 MiB each side.
function printVerdict ({ runs, peers }: CaseReport): void {
  const seconds = (name: string) => Number(peers[name]?.['seconds'] ?? Infinity)
  const ran = Object.keys(peers).filter((name) => rivalNames.has(name))
  const fastest = ran.reduce((a, b) => (seconds(a) <= seconds(b) ? a : b), '')
  for (const name of new Set([subject, ours, fastest])) {
    const speed = ratio(runs, 'seconds', barePeer.name, name)
    if (speed !== null) console.log(`  ${name}: ${speed.toFixed(2)} of the bare loop's speed`)
  }
  const lead = ratio(runs, 'seconds', fastest, subject)
  if (lead !== null) console.log(`  ${subject}: ${lead.toFixed(2)} of the speed of ${fastest}`)
  const checked = ratio(runs, 'checkedSeconds', fastest, subject)
  if (checked !== null) console.log(`  ${subject}: ${checked.toFixed(2)} of it with the check of both`)
  const cost = keyFile ? ratio(runs, 'seconds', ours, subject) : null
  if (cost !== null) console.log(`  ${subject}: ${cost.toFixed(2)} of the speed of ${ours}`)
}

const dataMiB = await placeImage(source, size)
const name = `${size.sizeMiB} MiB image, ${dataMiB} MiB of data`
const others = [...rivals, barePeer]
const copiers = options.peersOnly ? others : [...measured, ...others]
const contenders = copiers.filter((copier) => options.wants(copier.name)).map(asContender)
console.error(`${name}; ${options.runs} runs${options.quick ? ', quick sizes' : ''}`)
const report = reportCase(name, await takeTurns(contenders, options.runs))
printCase(report)
printVerdict(report)
if (options.json) printJson('copy', await machine(), [report])
