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
];
