// MAX's own client (npm @maxhub/max-bot-api) against the stand-in: its host is turned.
const assert = require('assert');
const [base, token, modules] = process.argv.slice(2);
const { Bot, Keyboard } = require(`${modules}/@maxhub/max-bot-api`);
const { inlineKeyboard, button } = Keyboard;

const api = (own) => new Bot(own, { clientOptions: { baseUrl: base } }).api;
const refusal = (promise) => promise.then(() => null, (error) => error);

(async () => {
  assert.strictEqual((await refusal(api('another').getMyInfo())).code, 'verify.token');
  const bot = api(token);
  assert.strictEqual((await bot.getMyInfo()).is_bot, true);

  const rows = [[button.callback('Да', 'yes'), button.link('Билеты', 'https://t.example/p/1')],
    [button.requestContact('Телефон')], [button.message('1. Цены')]];
  const sent = await bot.sendMessageToUser(123, 'Привет', { attachments: [inlineKeyboard(rows)] });
  assert.ok(sent.body.mid && sent.body.text === 'Привет' && sent.sender.is_bot, JSON.stringify(sent));
  assert.strictEqual(sent.recipient.chat_type, 'dialog');

  const four = [[1, 2, 3, 4].map((n) => button.link(`${n}`, 'https://t.example/p/1'))];
  for (const wrong of [
    ['я'.repeat(4001), []],
    ['x', [inlineKeyboard(four)]],
    ['x', [inlineKeyboard([[button.callback('x', 'y'.repeat(1025))]])]],
  ]) {
    const [text, attachments] = wrong;
    assert.strictEqual((await refusal(bot.sendMessageToUser(123, text, { attachments }))).status, 400);
  }
  assert.strictEqual((await refusal(bot.sendMessageToUser(404, 'x'))).status, 404);
  const blocked = await refusal(bot.sendMessageToUser(403, 'x'));
  assert.deepStrictEqual([blocked.status, blocked.code, blocked.description], [403, 'chat.denied', 'error.dialog.suspended']);
  const three = await Promise.all([1, 2, 3].map((n) => refusal(bot.sendMessageToUser(124, `${n}`))));
  assert.deepStrictEqual(three.filter(Boolean).map((error) => error.status), [429], 'two messages a second');

  assert.deepStrictEqual(await bot.answerOnCallback('c1', { message: null }), { success: true });
  assert.strictEqual((await refusal(bot.answerOnCallback('c1', { message: null }))).status, 400);

  const url = 'https://hub.example/messaging/max';
  for (const [wrong, secret] of [['http://hub.example/', 'abcde'], ['https://hub.example:8443/', 'abcde'],
    [url, 'abcd'], [url, 'abcd!']]) assert.strictEqual((await bot.subscribe(wrong, secret)).success, false);
  assert.strictEqual((await bot.subscribe(url, 'abcde', ['bot_started'])).success, true);
  const known = await bot.getSubscriptions();
  assert.deepStrictEqual(known.map((one) => [one.url, one.updateTypes]), [[url, ['bot_started']]]);
  assert.strictEqual((await bot.unsubscribe(url)).success, true);
  assert.deepStrictEqual(await bot.getSubscriptions(), []);
  console.log('content');
})().catch((error) => { console.error(error); process.exit(1); });
