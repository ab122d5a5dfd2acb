/** Built-in examples: a name, a question, passages with titles. */

export const EXAMPLES = [
  {
    name: "Tower",
    query: "When was the Eiffel Tower finished?",
    passages: [
      {
        title: "World’s Fair of 1889",
        text:
          "The Exposition Universelle of 1889 was a world’s fair held in Paris from May to October. It attracted " +
          "more than thirty-two million visitors. The fair celebrated the hundredth anniversary of the storming of " +
          "the Bastille. Its most visible symbol was the Eiffel Tower, which served as its entrance arch.",
      },
      {
        title: "Eiffel Tower",
        text:
          "The Eiffel Tower is a wrought-iron lattice tower on the Champ de Mars in Paris. It is named after the " +
          "engineer Gustave Eiffel, whose company designed and built it. Construction began in January 1887 and the " +
          "tower was completed in March 1889, in time for the World’s Fair. It was criticised by some of the " +
          "city’s leading artists. About seven million people pay to climb it every year.",
      },
      {
        title: "Louvre",
        text:
          "The Louvre is the most visited museum in the world. It opened in August 1793 with an exhibition of 537 " +
          "paintings. A glass pyramid was added to its courtyard in 1989.",
      },
    ],
  },
  {
    name: "Returns",
    query: "Within how many days can damaged items be returned?",
    passages: [
      {
        title: "Delivery",
        text:
          "Orders placed before noon leave our warehouse the same day. Standard delivery takes two to four working " +
          "days. Delivery is free for orders above 50 euros. A tracking link is sent by e-mail as soon as the " +
          "parcel is on its way.",
      },
      {
        title: "Returns",
        text:
          "We want you to be happy with what you bought. Unused items can be returned within 30 days of delivery. " +
          "Items that arrive damaged can be sent back within 60 days. For damaged items we pay the return shipping; " +
          "in all other cases it is 4.90 euros. Print the label from your account and hand the parcel in at any " +
          "post office. Refunds reach your account within five working days.",
      },
      {
        title: "Care of lamps",
        text:
          "Unplug the lamp before you clean it. Wipe the shade with a dry, soft cloth. Do not use bulbs of more " +
          "than 40 watts.",
      },
      {
        title: "Gift cards",
        text: "Gift cards are valid for three years. They cannot be returned or exchanged for cash.",
      },
    ],
  },
  {
    name: "Runbook",
    query: "How many connections can an instance hold?",
    passages: [
      {
        title: "Incident review",
        text:
          "On 3 May the checkout was unavailable for 41 minutes. The on-call engineer was paged at 09:12. A release " +
          "at 09:05 had halved the timeout of the payment client, so slow calls were retried, and the retries used " +
          "up all database connections. Rolling the release back restored the service at 09:53. No orders were " +
          "lost. Customers saw an error page and could keep their baskets.",
      },
      {
        title: "Connection pools",
        text:
          "# Connection pools\n\nEach instance holds at most 20 connections to the database. A request that finds " +
          "none free waits for up to five seconds. The size of the pool is set by DB_POOL_SIZE.",
      },
      {
        title: "Incident review",
        text:
          "On 17 March search was slow for two hours. The nightly rebuild of the index had been started by hand at " +
          "noon. Nothing else was affected. Rebuilds now need a second person’s approval.",
      },
      {
        title: "On call",
        text:
          "Shifts change on Mondays at ten. Whoever is on call answers a page within five minutes. Every incident " +
          "is reviewed within a week.",
      },
    ],
  },
  {
    name: "README",
    query: "How do I limit how many requests run at the same time?",
    passages: [
      {
        title: "fetchlane",
        text: `# fetchlane

A small HTTP client for crawlers. It keeps to the rules of every host, and it **never** sends a request twice.

## Installation

\`\`\`sh
pip install fetchlane
\`\`\`

It needs Python 3.11 or later.

## Settings

All settings are keyword arguments of \`Lane\`:

| Setting | Default | Meaning |
| --- | --- | --- |
| \`timeout\` | 30 | Seconds until a request is given up |
| \`concurrency\` | 8 | How many requests run at the same time |
| \`retries\` | 2 | How often a failed request is sent again |
| \`cache\` | off | Directory for answers that may be stored |

To limit a single host as well:

- Give \`per_host\` a number. It holds for every host.
- Give \`hosts\` a table, whose numbers go first.

\`\`\`python
from fetchlane import Lane

def crawl(urls):
    lane = Lane(concurrency=4, per_host=1)
    for page in lane.get_all(urls):
        print(page.status, page.url)
    lane.close()
\`\`\`

## Licence

MIT. See [the text](LICENSE).
`,
      },
    ],
  },
  {
    name: "Test log",
    query: "Why did the test fail?",
    passages: [
      {
        title: "pytest",
        text: `============================= test session starts ==============================
platform linux -- Python 3.12.3, pytest-8.3.2, pluggy-1.5.0
rootdir: /build/shop
plugins: cov-5.0.0, xdist-3.6.1
collected 42 items

tests/test_basket.py ..........                                          [ 23%]
tests/test_prices.py ......F.....                                        [ 52%]
tests/test_orders.py ....................                                [100%]

=================================== FAILURES ===================================
________________________ test_discount_is_rounded_once _________________________

    def test_discount_is_rounded_once():
        basket = Basket([Item("lamp", Decimal("19.99"), count=3)])
        basket.apply(Discount(percent=15))
>       assert basket.total == Decimal("50.97")
E       AssertionError: assert Decimal('50.98') == Decimal('50.97')
E        +  where Decimal('50.98') = <Basket of 3>.total

tests/test_prices.py:61: AssertionError
----------------------------- Captured stderr call -----------------------------
WARNING  shop.prices:prices.py:88 no exchange rate for today, using yesterday's
=========================== short test summary info ============================
FAILED tests/test_prices.py::test_discount_is_rounded_once - AssertionError
========================= 1 failed, 41 passed in 3.87s =========================
`,
      },
    ],
  },
  {
    name: "Web page",
    query: "How much does parking cost at the weekend?",
    passages: [
      {
        title: "Visit the museum",
        text: `<!doctype html>
<html>
<head><title>Visit the museum</title><style>nav { color: red }</style></head>
<body>
<nav><ul><li><a href="/">Home</a></li><li><a href="/art">Collection</a></li></ul></nav>
<main>
<h1>Visit the museum</h1>
<p>The museum is in the old harbour, ten minutes from the station. It is closed on Mondays.</p>
<h2>Getting here</h2>
<p>The nearest stop is <b>Old Harbour</b>. You can:</p>
<ul>
<li>take tram 4 or 11 from the station;</li>
<li>cycle along the river: there are <a href="/bikes">stands for bicycles</a> at the door;</li>
<li>park in the garage below the square.</li>
</ul>
<h2>Parking</h2>
<table>
<thead><tr><th>Time</th><th>Per hour</th><th>Per day</th></tr></thead>
<tbody>
<tr><td>Monday to Friday</td><td>€2.50</td><td>€18</td></tr>
<tr><td>Saturday and Sunday</td><td>€1.50</td><td>€9</td></tr>
</tbody>
</table>
<blockquote>Visitors with a ticket park free in the last hour.</blockquote>
</main>
<footer><p>© The museum. All rights reserved.</p></footer>
</body>
</html>
`,
      },
    ],
  },
];
