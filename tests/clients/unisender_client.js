// A UniSender client that nobody of us wrote (npm unisender) against the stand-in: its host is turned.
const assert = require('assert');
const [base, key, modules] = process.argv.slice(2);
require(`${modules}/unisender/src/config/defaults`).url = base;
const UniSender = require(`${modules}/unisender`);

const people = { field_names: ['email', 'email_list_ids'], data: [
  { email: 'anna@example.com', email_list_ids: '134' },
  { email: 'info@example.com', email_list_ids: '134' },
] };

(async () => {
  const wrong = await new UniSender({ api_key: 'another key' }).importContacts(people).catch((refused) => refused);
  assert.strictEqual(wrong.code, 'invalid_api_key');
  const client = new UniSender({ api_key: key });
  const { result } = await client.importContacts(people);
  assert.deepStrictEqual([result.total, result.inserted, result.invalid], [2, 1, 1], JSON.stringify(result));
  const again = (await client.importContacts(people)).result;
  assert.deepStrictEqual([again.inserted, again.updated], [0, 1], JSON.stringify(again));
  await client.exclude({ contact_type: 'email', contact: 'anna@example.com', list_ids: '134' });
  console.log('content');
})().catch((error) => { console.error(error); process.exit(1); });
