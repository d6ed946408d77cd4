// Compiled, never run: the declarations say what the module is (`./module.js` is a copy of it), and how it is used.

import * as said from "./auerbach.js";
import * as made from "./module.js";

type Public<T> = { [K in keyof T]: T[K] };
type Same<A, B> = [A, B] extends [B, A] ? true : false;

export const sameNames: Same<keyof typeof made, keyof typeof said> = true;
export const sameOfClient: Same<keyof made.Client, keyof said.Client> = true;
export const sameOfConversation: Same<keyof made.Conversation, keyof said.Conversation> = true;
export const client = (is: Public<made.Client>): Public<said.Client> => is;
export const conversation = (is: Public<made.Conversation>): Public<said.Conversation> => is;
export const error = (is: made.ChatError): said.ChatError => is;
type Given<T extends abstract new (...given: any) => any> = ConstructorParameters<T>;
export const newClient = (given: Given<typeof said.Client>): Given<typeof made.Client> => given;
export const newId: typeof said.newId = made.newId;

export async function use(): Promise<void> {
  const chat = new said.Client(["https://one.test", new URL("https://two.test")], {
    getToken: async () => "jwt",
    onStatus: (status) => {
      if (status.state === "waiting") console.log(status.retryAt);
      else if (status.state === "closed") console.log(status.error.code);
    },
    WebSocket,
  });
  const { user }: said.Hello = await chat.connect();
  const { group, seq } = await chat.createGroup({ name: "G", members: [{ user: "bob", role: "reader" }] });
  const maybe: number | undefined = (await chat.react(group, seq, "👍", { signal: AbortSignal.timeout(1) })).seq;
  for await (const member of chat.eachMember(group)) console.log(member.user === user, maybe);
  const g = chat.conversation(group, { recent: 10 });
  const stop = g.listen((change) => {
    if (change.kind === "event") console.log(change.event.by);
  });
  for (const message of g.messages) console.log("status" in message ? message.error?.code : message.edited_at);
  stop();
  // @ts-expect-error: nobody is made an owner by being added
  await chat.addMember(group, "bob", { role: "owner" });
  // @ts-expect-error: a group has a name
  await chat.createGroup({});
  // @ts-expect-error: what was posted is not changed by hand
  g.post("x").status = "sent";
}
