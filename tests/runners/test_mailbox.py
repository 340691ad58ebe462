"""The mailbox alone, in an event loop of its own."""

import asyncio

from avtune.runners.mailbox import Mailbox


def test_everyone_gets_the_answer_to_their_own_message():
    async def story():
        box = Mailbox("over")
        engines = 5
        async with box._changed:  # so that all of them wait for the lock, as they do when somebody is served
            asked = [asyncio.create_task(box.exchange(f"message {number}")) for number in range(engines)]
            await asyncio.sleep(0)
        taken = []
        while len(taken) < engines:
            taken += await box.take(5.0)
        for ticket, text in reversed(taken):
            await box.reply(ticket, text.replace("message", "answer"))
        return await asyncio.wait_for(asyncio.gather(*asked), 5.0)

    assert asyncio.run(story()) == [f"answer {number}" for number in range(5)]


def test_nobody_waits_at_a_closed_mailbox():
    async def story():
        box = Mailbox("over")
        waiting = asyncio.create_task(box.exchange("message"))
        session = asyncio.create_task(box.session(0))
        await asyncio.sleep(0)
        await box.close()
        return await asyncio.wait_for(asyncio.gather(waiting, session, box.exchange("late"), box.session(0)), 5.0)

    assert asyncio.run(story()) == ["over", None, "over", None]


def test_a_session_is_given_to_those_who_have_not_had_it():
    async def story():
        box = Mailbox("over")
        early = asyncio.create_task(box.session(0))
        await asyncio.sleep(0)
        await box.open(1, ["data"], 4)
        found = [await asyncio.wait_for(early, 5.0), await box.session(0)]
        again = asyncio.create_task(box.session(1))
        await box.end()
        await asyncio.sleep(0)
        assert not again.done()
        await box.open(2, ["other"], 4)
        return [*found, await asyncio.wait_for(again, 5.0)]

    assert asyncio.run(story()) == [(1, ["data"], 4), (1, ["data"], 4), (2, ["other"], 4)]


def test_all_messages_that_wait_are_taken_at_once_in_their_order():
    async def story():
        box = Mailbox("over")
        asked = [asyncio.create_task(box.exchange(f"message {number}")) for number in range(3)]
        await asyncio.sleep(0)
        taken = [text for _, text in await box.take(5.0)]
        rest = await box.take(0.0)
        await box.close()
        await asyncio.gather(*asked)
        return taken, rest

    assert asyncio.run(story()) == ([f"message {number}" for number in range(3)], [])


def test_taking_waits_no_longer_than_its_patience():
    async def story():
        box = Mailbox("over")
        return await box.take(0.0), await box.take(0.001)

    assert asyncio.run(story()) == ([], [])
