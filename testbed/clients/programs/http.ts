// One request.

import { request, type Agent } from 'node:http'

/** How long a client waits for an answer before it calls the request failed. */
const patienceMs = 60_000

/** The body of the answer. Throws unless its status is 200 and it is complete. */
export function get (url: string, agent: Agent, signal?: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { agent, timeout: patienceMs, ...(signal && { signal }) }
    const asked = request(url, options, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (more: string) => (text += more))
      response.on('error', reject)
      response.on('end', () => {
        if (response.statusCode === 200 && response.complete) resolve(text)
        else reject(new Error(`status ${response.statusCode}`))
      })
    })
    asked.on('timeout', () => asked.destroy(new Error('no answer')))
    asked.on('error', reject)
    asked.end()
  })
}
