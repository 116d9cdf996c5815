// Says the answer to one request.
//
//   ask URL

import { Agent } from 'node:http'
import { get } from './http.js'

process.stdout.write(await get(process.argv[2] as string, new Agent()))
