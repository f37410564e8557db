"""The engine: answers questions about one model on one device, in the language of `protocol`.

The event loop never waits for torch: requests are read on reader threads, computed on the one device thread, and
sentence vectors have a thread of their own. Capabilities are answered at once in every state, and tokenising never
waits behind the queue. The process should be started with OMP_WAIT_POLICY=PASSIVE in its environment (`threads`)."""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, TypeVar

from inference.engine import operations, protocol
from inference.engine.device import DeviceLoop
from inference.engine.failures import as_engine_error
from inference.engine.generate import Generation
from inference.engine.lease import LeaseBook, LeaseWish
from inference.engine.loading import Loading, load_workshop
from inference.engine.protocol import EngineError, GeneratedToken
from inference.engine.queue import Line
from inference.engine.room import used_and_total_bytes
from inference.engine.settings import EngineSettings
from inference.engine.work import Job
from inference.engine.workshop import Workshop
from inference.errors import BadInput

log = logging.getLogger(__name__)

State = Literal["loading", "ready", "draining", "failed"]

READERS = 2

Result = TypeVar("Result")


class DeviceEngine:
    """Implements `protocol.Engine`. Made anywhere; started, asked and drained on one event loop."""

    def __init__(
        self,
        settings: EngineSettings,
        *,
        load: Callable[[EngineSettings, Loading], Workshop] = load_workshop,
        lost: Callable[[], None] | None = None,
    ) -> None:
        """`lost` is called when the device failed for good: the time to end the process, so that it is replaced."""
        self.settings = settings
        self._load = load
        self._lost = lost
        self._loading = Loading()
        self._state: State = "loading"
        self._line = Line(limit=settings.queue_limit, leases=LeaseBook(settings.lease_limit_seconds))
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="engine-reader")
        self._embedder = ThreadPoolExecutor(1, thread_name_prefix="engine-embedder")
        self._workshop: Workshop | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._open: set[asyncio.Future[Any]] = set()
        self._loaded = asyncio.Event()

    @property
    def state(self) -> State:
        return self._state

    @property
    def progress(self) -> float:
        return self._loading.progress

    async def start(self) -> None:
        """Begin to load the model in the background, and return."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._own_device, name="engine-device", daemon=True)
        self._thread.start()

    async def loaded(self) -> None:
        """Wait until loading has ended, well or badly."""
        await self._loaded.wait()

    # --- questions ------------------------------------------------------------------------------------------------

    async def ask(self, request: Any, /) -> Any:
        try:
            match request:
                case protocol.Capabilities():
                    return self._capabilities()
                case protocol.Embed():
                    return await self._embed(request)
                case protocol.Tokenize():
                    return await self._read(operations.tokenize, request, self._ready())
                case protocol.Lease():
                    return await self._lease(request)
                case protocol.Release():
                    self._line.release_lease(request.holder)
                    return protocol.ReleaseAnswer()
                case protocol.Generate():
                    raise BadInput("A continuation is streamed: use generate.")
                case _ if type(request) in operations.STAGES:
                    return await self._compute(request, self._ready())
                case _:
                    raise BadInput(f"{type(request).__name__} is not a question that the engine answers.")
        except Exception as error:
            raise as_engine_error(error) from error

    async def generate(self, request: protocol.Generate, /) -> AsyncIterator[GeneratedToken]:
        try:
            async for token in self._generate(request, self._ready()):
                yield token
        except Exception as error:
            raise as_engine_error(error) from error

    async def drain(self, seconds: float) -> None:
        """Refuse what is new, give what runs so many seconds, then end it and the device thread."""
        ends = time.monotonic() + seconds
        if self._state != "failed":
            self._state = "draining"
        if self._open:
            await asyncio.wait(self._open, timeout=seconds)
        for future in self._open:
            _settle(future, None, EngineError("unavailable", "The engine is shutting down.", retry_after=10.0))
        self._line.stop()
        # The thread is in the middle of a pass at most. While it still loads there is nothing to wait for.
        if self._thread is not None and self._workshop is not None:
            await asyncio.to_thread(self._thread.join, max(1.0, ends - time.monotonic()))
            self._workshop.holdings.close()
        self._readers.shutdown(wait=False, cancel_futures=True)
        self._embedder.shutdown(wait=False, cancel_futures=True)

    # --- how they are answered ------------------------------------------------------------------------------------

    def _ready(self) -> Workshop:
        if self._state == "ready" and self._workshop is not None:
            return self._workshop
        if self._state == "loading":
            doing = self._loading.doing
            raise EngineError("unavailable", f"The engine is loading: {doing}", retry_after=self._loading.retry_after)
        if self._state == "draining":
            raise EngineError("unavailable", "The engine is shutting down.", retry_after=10.0)
        raise EngineError("unavailable", f"The engine has failed: {self._loading.doing}")

    async def _read(self, function: Callable[..., Result], *arguments: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._readers, function, *arguments)

    async def _compute(self, request: Any, workshop: Workshop) -> Any:
        future = self._promise()
        try:
            self._line.reserve()
        except EngineError:
            future.cancel()
            raise
        try:
            await self._open_sources(request, workshop)
            job = await self._read(lambda: Job(operations.STAGES[type(request)](request, workshop), _deliverer(future)))
        except BaseException:
            self._line.unreserve()
            future.cancel()
            raise
        self._line.enter(job)
        try:
            return await future
        finally:
            self._line.withdraw(job)

    async def _open_sources(self, request: Any, workshop: Workshop) -> None:
        """Wait for dictionaries that are opened for the first time, but not for long: one may have to be fetched."""
        sources = operations.named_sources(request)
        opening = [workshop.holdings.open(source) for source in sources]
        if all(future.done() for future in opening):
            return
        # Gathered, so that what goes wrong is kept for `Holdings.get`, which tells it; shielded, because others wait.
        opened = asyncio.gather(*map(asyncio.wrap_future, opening), return_exceptions=True)
        try:
            await asyncio.wait_for(asyncio.shield(opened), self.settings.open_seconds)
        except TimeoutError:
            late = next((one.id for one, future in zip(sources, opening, strict=True) if not future.done()), "")
            raise EngineError("unavailable", f"{late} is still being fetched and read.", retry_after=5.0) from None

    async def _generate(self, request: protocol.Generate, workshop: Workshop) -> AsyncIterator[GeneratedToken]:
        loop = asyncio.get_running_loop()
        tokens: asyncio.Queue[GeneratedToken | BaseException] = asyncio.Queue()
        ended = self._promise()
        ended.add_done_callback(_failure_into(tokens))

        def emit(token: GeneratedToken | BaseException) -> None:
            _call(loop, tokens.put_nowait, token)

        try:
            self._line.reserve()
        except EngineError:
            ended.cancel()
            raise
        try:
            generation = await self._read(Generation, request, workshop, emit)
        except BaseException:
            self._line.unreserve()
            ended.cancel()
            raise
        self._line.enter_generation(generation)
        try:
            while True:
                token = await tokens.get()
                if isinstance(token, BaseException):
                    raise token
                yield token
                if token.finished:
                    return
        finally:
            self._line.withdraw_generation(generation)
            ended.cancel()

    async def _lease(self, request: protocol.Lease) -> protocol.LeaseAnswer:
        self._ready()
        if not request.holder:
            raise BadInput("A lease needs a holder: a name by which it is renewed and released.")
        if not request.seconds > 0:
            raise BadInput(f"A lease for {request.seconds} seconds cannot be given; ask for more than 0.")
        future = self._promise()
        wish = LeaseWish(
            holder=request.holder,
            seconds=request.seconds,
            free_memory=request.free_memory,
            granted=lambda seconds: _deliverer(future)(seconds, None),
        )
        self._line.ask_lease(wish)
        try:
            return protocol.LeaseAnswer(holder=request.holder, seconds=await future)
        except asyncio.CancelledError:
            self._line.forget_lease(wish)
            raise

    async def _embed(self, request: protocol.Embed) -> protocol.EmbedAnswer:
        if self._state == "draining":
            self._ready()
        return await asyncio.get_running_loop().run_in_executor(self._embedder, operations.embed, request)

    def _capabilities(self) -> protocol.CapabilitiesAnswer:
        workshop = self._workshop
        used, total = used_and_total_bytes(workshop.trunks.main.device) if workshop else (0, 0)
        return protocol.CapabilitiesAnswer(
            version=protocol.VERSION,
            state=self._state,
            doing=self._loading.doing,
            progress=self._loading.progress,
            provenance=workshop.provenance("auto") if workshop else None,
            layers=workshop.shape.layers if workshop else 0,
            d_model=workshop.shape.d_model if workshop else 0,
            vocabulary=workshop.shape.vocabulary if workshop else 0,
            chat=self.settings.model.endswith("-it"),
            max_prompt_tokens=self.settings.max_prompt_tokens,
            queue_length=len(self._line),
            queue_limit=self.settings.queue_limit,
            device_bytes_used=used,
            device_bytes_total=total,
            loaded=workshop.holdings.loaded() if workshop else (),
        )

    def _promise(self) -> asyncio.Future[Any]:
        """An answer to come. Draining waits for all of them."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._open.add(future)
        future.add_done_callback(self._forget_promise)
        return future

    def _forget_promise(self, future: asyncio.Future[Any]) -> None:
        self._open.discard(future)
        if not future.cancelled():
            # Looked at, so that asyncio does not complain of a failure that came after its asker had left.
            future.exception()

    # --- on the device thread -------------------------------------------------------------------------------------

    def _own_device(self) -> None:
        try:
            workshop = self._load(self.settings, self._loading)
        except Exception as error:
            self._loading.say(self._loading.progress, str(as_engine_error(error)))
            self._tell(self._after_loading, None)
            return
        self._tell(self._after_loading, workshop)
        try:
            DeviceLoop(self._line, workshop).run()
        except Exception as error:
            log.critical("the device was lost", exc_info=error)
            self._tell(self._after_loss, error)

    def _after_loss(self, error: Exception) -> None:
        self._state = "failed"
        self._loading.say(1.0, f"the device failed ({type(error).__name__}), and only a new process can use it again.")
        lost = EngineError("unavailable", "The device failed. The engine has to be started again.", retry_after=20.0)
        for future in self._open:
            _settle(future, None, lost)
        if self._lost is not None:
            self._lost()

    def _after_loading(self, workshop: Workshop | None) -> None:
        self._workshop = workshop
        if self._state == "loading":
            self._state = "ready" if workshop else "failed"
        self._loaded.set()

    def _tell(self, function: Callable[..., None], *arguments: Any) -> None:
        assert self._loop is not None
        _call(self._loop, function, *arguments)


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., Any], *arguments: Any) -> None:
    """Run something on the event loop, unless that has ended meanwhile."""
    try:
        loop.call_soon_threadsafe(function, *arguments)
    except RuntimeError:
        if not loop.is_closed():
            raise


def _failure_into(tokens: asyncio.Queue[GeneratedToken | BaseException]) -> Callable[[asyncio.Future[Any]], None]:
    """Passes a promise's failure on to whoever waits for tokens."""

    def done(future: asyncio.Future[Any]) -> None:
        if not future.cancelled() and (error := future.exception()):
            tokens.put_nowait(error)

    return done


def _deliverer(future: asyncio.Future[Any]) -> Callable[[Any, BaseException | None], None]:
    loop = future.get_loop()
    return lambda answer, error: _call(loop, _settle, future, answer, error)


def _settle(future: asyncio.Future[Any], answer: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(answer)
