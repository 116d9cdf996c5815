/** `npm run test:full`: every step and many seeds, where `npm test` takes some by chance. */
export const kIsFull = process.env['BLOCKFERRY_FULL'] === '1'
