// The bare C copy loop: the limit, not a rival.

import { type Copier, type CopyJob, measureCopy } from '../support/copying.js'
import { helper } from '../support/helper.js'
import { freePort, whenListening } from '../support/network.js'
import { MeasuredProcess } from '../support/process.js'

async function copy (job: CopyJob) {
  const program = await helper('bare-copy')
  const port = String(await freePort())
  const receive = [program, 'receive', port, job.destination]
  const receiver = await MeasuredProcess.start(receive, job.namespace)
  await whenListening(Number(port), job.namespace)
  const send = async () => {
    const command = [program, 'send', port, job.source]
    return (await MeasuredProcess.start(command, job.namespace)).succeed()
  }
  return measureCopy(job, receiver, send, true)
}

export const barePeer: Copier = { name: 'bare-loop', copy }
