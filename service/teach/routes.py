"""HTTP routes of teaching sessions and of the models they saved: /v1/teach, /v1/models/{name}.

Parameters are in the query string, so that no body is parsed in the event loop.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from spikesight.encoders.recordings.files import digest
from spikesight.encoders.sample import Sample
from spikesight.models.steps import Input
from spikesight.service.http.bodies import SAMPLE_BODY, content
from spikesight.service.http.errors import ServiceError
from spikesight.service.http.shares import address_of
from spikesight.service.teach.bodies import LABEL, TakenBody, TeachingBody
from spikesight.service.teach.examples import moves, picture_of, windows_of
from spikesight.service.teach.saving import archive, check_name
from spikesight.service.teach.sessions import TeachingSession, TeachingSessions
from spikesight.service.upload.load import inputs_of, load
from spikesight.service.upload.predict import read_body

PRIVATE = {"Cache-Control": "private, max-age=3600"}

ModelName = Annotated[str, Path(max_length=64, description="one of GET /v1/models that is `saved`")]
Number = Annotated[int, Path(ge=0, le=2**53, description="of the example")]
Label = Annotated[str, Query(alias="class", description=f"a class's name, 1 to {LABEL} characters")]


async def found(
    request: Request, identity: Annotated[str, Path(max_length=64, description="of the session")]
) -> TeachingSession:
    """Return the session that a path names. Raises ServiceError 404."""
    return request.app.state.sessions.get(identity)


Session = Annotated[TeachingSession, Depends(found)]


def label_of(text: str) -> str:
    """Return a class's name, trimmed. Raises ServiceError 400."""
    label = text.strip()
    if not 1 <= len(label) <= LABEL or not label.isprintable():
        raise ServiceError(400, f"a class's name has 1 to {LABEL} printable characters")
    return label


def router(sessions: TeachingSessions) -> APIRouter:
    """Return the routes. Those of a session that is not there answer 404."""
    routes = APIRouter(tags=["teach"])

    one = "/v1/teach/{identity}"

    @routes.post("/v1/teach", summary="Begin a teaching session")
    async def post_session(
        request: Request,
        features: Annotated[str | None, Query(max_length=64, description="a model whose network is learnt on")] = None,
    ) -> TeachingBody:
        return (await sessions.begin(address_of(request), features)).body()

    @routes.get(one, summary="The state of a session")
    async def get_session(
        session: Session, wait: Annotated[bool, Query(description="until all examples are learnt")] = False
    ) -> TeachingBody:
        if wait:
            await session.learner.settled()
        return session.body()

    @routes.delete(one, summary="End a session: nothing of it is kept but what was saved", status_code=204)
    async def delete_session(session: Session) -> None:
        sessions.end(session.id)

    @routes.patch(f"{one}/classes", summary="Rename a class")
    async def patch_class(
        session: Session, label: Label, to: Annotated[str, Query(description="its new name")]
    ) -> TeachingBody:
        session.examples.rename(label, label_of(to))
        return session.body()

    @routes.delete(f"{one}/classes", summary="Take a class back")
    async def delete_class(session: Session, label: Label) -> TeachingBody:
        session.examples.forget(label)
        return session.body()

    summary = "Add examples of a class: a recording, cut into windows, or an image"

    @routes.post(f"{one}/examples", summary=summary, openapi_extra=SAMPLE_BODY)
    async def post_examples(
        request: Request,
        session: Session,
        label: Label,
        name: Annotated[str, Query(description="the file's name, for raw bodies of N-MNIST .bin", max_length=255)] = "",
    ) -> TakenBody:
        return await add_upload(sessions, session, label_of(label), request, name)

    png: dict[int | str, dict[str, Any]] = {200: content("image/png")}

    @routes.get(
        f"{one}/examples/{{number}}", summary="A picture of an example's events", response_class=Response, responses=png
    )
    async def get_example(session: Session, number: Number) -> Response:
        picture = picture_of(session.examples.get(number).picture)
        return Response(picture, media_type="image/png", headers=PRIVATE)

    @routes.delete(f"{one}/examples/{{number}}", summary="Take an example back")
    async def delete_example(session: Session, number: Number) -> TeachingBody:
        session.examples.drop(number)
        return session.body()

    summary = "Write the model to the service's folder of models and serve it to everybody, from now on"

    @routes.post(f"{one}/save", summary=summary)
    async def post_save(session: Session, name: Annotated[str, Query(description="of the model")]) -> TeachingBody:
        await save(sessions, session, name)
        return session.body()

    packed: dict[int | str, dict[str, Any]] = {200: content("application/zip")}

    @routes.get(
        f"{one}/model.zip", summary="The model's folder as a ZIP file", response_class=Response, responses=packed
    )
    async def get_archive(
        session: Session, name: Annotated[str, Query(description="of the folder inside")] = "taught"
    ) -> Response:
        return await download(session, name)

    @routes.delete(
        "/v1/models/{name}", summary="Remove a model that was taught and saved, its folder too", status_code=204
    )
    async def delete_model(name: ModelName) -> None:
        await sessions.remove_saved(name)

    return routes


async def add_upload(
    sessions: TeachingSessions, session: TeachingSession, label: str, request: Request, name: str
) -> TakenBody:
    """Add the windows of an upload as examples. Raises ServiceError."""
    session.examples.check_room(label)
    runtime, classifier = sessions.runtime, session.learner.model.classifier
    warnings: list[str] = []
    skipped = 0

    def windows_from(loaded: Sample) -> list[list[Input]]:
        nonlocal skipped
        warnings.extend(loaded.warnings)
        cut = windows_of(inputs_of(classifier, loaded, runtime.settings.max_recording_steps))
        moving = [window for window in cut if moves(window)]
        skipped = len(cut) - len(moving)
        return moving

    with session.examples.expecting(label) as waiting:
        data, name = await read_body(request, name)
        client, deadline = address_of(request), runtime.deadline()
        windows = await load(runtime, session.learner.model, (data, name), windows_from, client, deadline)
        taken = await session.examples.add(waiting, session.examples.new_take(digest(data)), windows)
    if not taken:
        session.examples.check_room(label)  # others may have filled it meanwhile
    return TakenBody(taken=taken, skipped=skipped, warnings=warnings, teaching=session.body())


async def save(sessions: TeachingSessions, session: TeachingSession, name: str) -> None:
    """Write the session's model to the folder of saved models and serve it. Raises ServiceError."""
    sessions.saved_models.folder()
    check_name(name)
    await session.learner.settled()
    head = session.learner.ready()
    await session.turns.run(lambda: sessions.saved_models.save(name, head, session.saved))
    session.saved = name
    session.notify()


async def download(session: TeachingSession, name: str) -> Response:
    """Return the model's folder as a ZIP file. Raises ServiceError."""
    check_name(name)
    await session.learner.settled()
    head = session.learner.ready()
    packed = await session.turns.run(lambda: archive(name, head.network, head.card))
    disposition = {"Content-Disposition": f'attachment; filename="{name}.zip"'}
    return Response(packed, media_type="application/zip", headers=disposition)
